"""Telling stores apart that were at the same path: what was migrated keeps the name and the birth that it had."""

from dataclasses import dataclass

from shared.errors import BatonError


class OriginError(BatonError):
    """Another store was migrated from this path."""


@dataclass(frozen=True)
class Origin:
    """What an experiment or a registered model is known by; `created` in milliseconds since 1970.

    None stands for what its damaged meta.yaml does not say.
    """

    name: str | None
    created: int | None

    def __str__(self) -> str:
        """Return the origin as the target remembers it."""
        return f"{'' if self.created is None else self.created}/{self.name or ''}"


def check(kind: str, key: str, origin: Origin, remembered: str) -> None:
    """Raise `OriginError` if what was migrated under this key had another name or birth, as far as both are known."""
    born, _, name = remembered.partition("/")
    own_birth, _, own_name = str(origin).partition("/")
    if any(then and now and then != now for then, now in ((born, own_birth), (name, own_name))):
        raise OriginError(
            f"{kind} {key} that was migrated from this path was another one ({name or key!r}, this is "
            f"{own_name or key!r}): another store was here, and nothing was written; move this one to a path of its own"
        )
