"""The stack on one machine, as supervised processes."""
