"""Running the stack: on one machine, or in containers."""
