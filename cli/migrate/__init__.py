"""`baton migrate`: from MLflow's FileStore (`mlruns/`) into the PostgreSQL-backed registry, without losing a run."""

from cli.migrate.verbs import register

__all__ = ["register"]
