"""Capture: how changes of champions, whoever makes them, get into the ledger."""
