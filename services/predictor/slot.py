"""Slots: what this worker serves of each model. A swap is one reference assignment."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from time import perf_counter

from services.predictor.intake import intake
from services.predictor.labels import text_of
from services.predictor.order import Order
from services.predictor.seen import Seen
from services.predictor.validator import Validator
from shared.errors import (
    AmbiguousModelError,
    BatonError,
    BundleError,
    NoChampionError,
    NotLoadedError,
    NotServedError,
    UnknownModelError,
)
from shared.event import subject_token
from shared.events import ModelPromoted
from shared.verification import VerifiedModel


class Usage:
    """When a champion was asked for last, by `time.perf_counter`."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = perf_counter()


@dataclass(frozen=True)
class Champion:
    """A verified version, its place in the model's order of changes, and what it takes."""

    model: str
    version: str
    generation: int
    ledger: str
    digest: str
    verified: VerifiedModel
    since: datetime
    request_id: str | None = None
    usage: Usage = field(default_factory=Usage, compare=False)

    def of_version(self, version: str | None) -> "Champion":
        """Return this champion if it is of a version, None being any; raise `UnknownModelError` if not."""
        if version is not None and version != self.version:
            raise other_version(self.model, self.version, version)
        return self

    @cached_property
    def key(self) -> tuple[str, str]:
        """Return model and version."""
        return self.model, self.version

    @cached_property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what names this version in every answer of it."""
        return [(b"baton-model", subject_token(self.model).encode()), (b"baton-version", self.version.encode())]

    @cached_property
    def classes(self) -> list[str]:
        """Return the classes, as JSON names them."""
        return [text_of(label) for label in self.verified.manifest.output.classes]

    @cached_property
    def seen(self) -> Seen:
        """Return what training saw of the inputs."""
        return intake(self.verified).seen

    @cached_property
    def validator(self) -> Validator:
        """Return what the model takes."""
        return intake(self.verified).validator


def other_version(model: str, served: str, asked: str) -> UnknownModelError:
    """Return the error for a request for a version that is not the one that is served."""
    return UnknownModelError(f"version {asked!r} of {model} is not served here: {served} is")


class Slot:
    """The place of one model's champion; it never goes back to an older change.

    While it `is_lazy`, it is told of champions, and the last one waits, `unloaded`, for who asks for the model.
    `problem` says why the last champion is not served.
    """

    def __init__(self, model: str, *, is_lazy: bool = False) -> None:
        self.model = model
        self.is_lazy = is_lazy
        self.champion: Champion | None = None
        self.unloaded: ModelPromoted | None = None
        self.problem: str | None = None
        self._order = Order()

    def swap(self, champion: Champion) -> bool:
        """Serve a champion from the next request on; return False if a newer change was applied before."""
        if not self._waits_for(champion) and not self._order.advance(champion.ledger, champion.generation):
            return False
        self.champion = champion  # requests in flight keep the one that they began with
        self.unloaded = self.problem = None
        return True

    def announce(self, promoted: ModelPromoted) -> bool:
        """Have a champion loaded by whoever asks first; return False if a newer change was applied before."""
        if not self._order.advance(promoted.ledger, promoted.generation):
            return False
        self.unloaded, self.problem = promoted, None
        return True

    def withdraw(self, ledger: str, generation: int) -> bool:
        """Serve nothing from the next request on; return False if a newer change was applied before."""
        if not self._order.advance(ledger, generation):
            return False
        self.champion = self.unloaded = self.problem = None
        return True

    def unload(self, promoted: ModelPromoted) -> None:
        """Be lazy again: `promoted` is what was said of the champion, which whoever asks next has loaded."""
        self.unloaded = promoted
        self.champion = None
        self.is_lazy = True

    def fail(self, promoted: ModelPromoted, error: BundleError) -> None:
        """Note why a champion is not served; the one that was served before goes on."""
        self.problem = f"version {promoted.version}: {error}"

    @property
    def is_served(self) -> bool:
        """Tell whether a request is answered, be it that the champion is loaded for it."""
        return self.champion is not None or (self.unloaded is not None and self.problem is None)

    def absence(self) -> BatonError:
        """Return the error for a request that finds no champion."""
        if self.problem is not None:
            return NotServedError(f"{self.model} is not served here: {self.problem}")
        if self.unloaded is not None:
            return NotLoadedError(self.model)
        return NoChampionError(
            f"{self.model} has no champion: train one with `baton train`, or set the alias `champion` in MLflow"
        )

    def _waits_for(self, champion: Champion) -> bool:
        waiting = self.unloaded
        return waiting is not None and (waiting.ledger, waiting.generation) == (champion.ledger, champion.generation)


class Slots:
    """The slots of a worker, one for every model that was heard of."""

    def __init__(
        self, default_model: str | None = None, only: frozenset[str] | None = None, *, are_lazy: bool = False
    ) -> None:
        self._default = default_model
        self._only = only
        self._are_lazy = are_lazy
        self._slots: dict[str, Slot] = {}

    def serves(self, model: str) -> bool:
        """Tell whether a model is served here at all: each is, unless settings list those that are."""
        return self._only is None or model in self._only

    def of(self, model: str) -> Slot:
        """Return a model's slot, an empty one for a model heard of for the first time."""
        return self._slots.setdefault(model, Slot(model, is_lazy=self._are_lazy))

    @property
    def champions(self) -> list[Champion]:
        """Return what is loaded and served, by model."""
        return [slot.champion for _, slot in sorted(self._slots.items()) if slot.champion is not None]

    @property
    def unloaded(self) -> list[tuple[str, ModelPromoted]]:
        """Return the models whose champion waits for somebody who asks, with what was said of it."""
        slots = [slot for _, slot in sorted(self._slots.items()) if slot.is_served]
        return [(slot.model, slot.unloaded) for slot in slots if slot.unloaded is not None]

    @property
    def served(self) -> list[str]:
        """Return the models whose requests are answered."""
        return [model for model, slot in sorted(self._slots.items()) if slot.is_served]

    @property
    def models(self) -> list[str]:
        """Return every model that was heard of."""
        return sorted(self._slots)

    def known(self, model: str) -> Slot:
        """Return the slot of a model that was heard of; raise `UnknownModelError` naming those that were."""
        try:
            return self._slots[model]
        except KeyError:
            known = ", ".join(self.models) or "none"
            raise UnknownModelError(f"no model {model!r} is known here; known: {known}") from None

    def champion(self, model: str) -> Champion:
        """Return who answers for a model; raise `NotLoadedError` if it is to be loaded first."""
        slot = self._slots.get(model) or self.known(model)
        if slot.champion is None:
            raise slot.absence()
        return slot.champion

    def check(self, model: str, version: str | None) -> None:
        """Raise the error of a request for a version of a model, None being any, unless it is answered."""
        slot = self.known(model)
        serves = slot.champion or slot.unloaded
        if serves is None or not slot.is_served:
            raise slot.absence()
        if version not in {None, serves.version}:
            raise other_version(model, serves.version, version)

    def default(self) -> Champion:
        """Return who answers where the request names no model: the one from settings, else the only one."""
        if self._default is not None:
            return self.champion(self._default)
        served = [slot.model for slot in self._slots.values() if slot.champion or slot.unloaded]
        if len(served) > 1:
            names = ", ".join(sorted(served))
            raise AmbiguousModelError(f"several models are served ({names}): ask /models/<model>/predict")
        if len(known := served or [*self._slots]) == 1:
            return self.champion(known[0])
        raise NoChampionError("no model is served yet: train one with `baton train`")
