"""`baton backup` and `baton restore`: everything that a stack knows, in one archive, at a consistent point."""

from cli.backup.verbs import register

__all__ = ["register"]
