"""Slots: what this worker serves of each model. A swap is one reference assignment."""

from dataclasses import dataclass
from datetime import datetime

from shared.errors import AmbiguousModelError, NoChampionError, UnknownModelError
from shared.verification import VerifiedModel


@dataclass(frozen=True)
class Champion:
    """A verified version and its place in the model's order of changes."""

    model: str
    version: str
    generation: int
    ledger: str
    digest: str
    verified: VerifiedModel
    since: datetime


class Slot:
    """The place of one model's champion; it never goes back to a lower generation of the same ledger."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.champion: Champion | None = None
        self._ledger = ""
        self._generation = -1

    def is_news(self, generation: int, ledger: str) -> bool:
        """Say whether a change comes after the last one that was applied."""
        return ledger != self._ledger or generation > self._generation

    def swap(self, champion: Champion) -> bool:
        """Serve a champion from the next request on; return False if a newer change was applied before."""
        if not self.is_news(champion.generation, champion.ledger):
            return False
        self._ledger, self._generation = champion.ledger, champion.generation
        self.champion = champion  # requests in flight keep the one that they began with
        return True

    def withdraw(self, generation: int, ledger: str) -> bool:
        """Serve nothing from the next request on; return False if a newer change was applied before."""
        if not self.is_news(generation, ledger):
            return False
        self._ledger, self._generation = ledger, generation
        self.champion = None
        return True


class Slots:
    """The slots of a worker, one for every model that was heard of."""

    def __init__(self, default_model: str | None = None) -> None:
        self._default = default_model
        self._slots: dict[str, Slot] = {}

    def of(self, model: str) -> Slot:
        """Return a model's slot, an empty one for a model heard of for the first time."""
        return self._slots.setdefault(model, Slot(model))

    @property
    def champions(self) -> list[Champion]:
        """Return what is served, by model."""
        return [slot.champion for _, slot in sorted(self._slots.items()) if slot.champion is not None]

    @property
    def models(self) -> list[str]:
        """Return every model that was heard of."""
        return sorted(self._slots)

    def champion(self, model: str) -> Champion:
        """Return who answers for a model."""
        slot = self._slots.get(model)
        if slot is None:
            raise UnknownModelError(f"no model {model!r} is known here; known: {', '.join(self.models) or 'none'}")
        if slot.champion is None:
            raise NoChampionError(
                f"{model} has no champion yet: train one with `baton train`, or set the alias `champion` in MLflow"
            )
        return slot.champion

    def default(self) -> Champion:
        """Return who answers where the request names no model: the one from settings, else the only one."""
        if self._default:
            return self.champion(self._default)
        served = self.champions
        if len(served) > 1:
            names = ", ".join(champion.model for champion in served)
            raise AmbiguousModelError(f"several models are served ({names}): ask /models/<model>/predict")
        if served:
            return served[0]
        if len(self._slots) == 1:
            return self.champion(next(iter(self._slots)))
        raise NoChampionError("no model is served yet: train one with `baton train`")
