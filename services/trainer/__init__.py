"""The trainer: turns train requests into runs, model versions and bundles."""
