"""The services: each imports `shared` and itself, never another."""
