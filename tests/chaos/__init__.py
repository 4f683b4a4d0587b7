"""Chaos: a real stack under work while its parts are killed and held, and an independent witness of what was committed.

`python -m tests.chaos --seed S --kills N`; see docs/chaos.md.
"""
