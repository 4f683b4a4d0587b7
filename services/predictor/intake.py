"""Intake: what a model takes, worked out once per model, before requests wait for it."""

from weakref import WeakKeyDictionary

from services.predictor.seen import Seen
from services.predictor.validator import Validator
from shared.verification import VerifiedModel


class Intake:
    """What a model takes, and what training saw of it."""

    def __init__(self, model: VerifiedModel) -> None:
        self.validator = Validator(model.manifest.inputs)
        self.seen = Seen(model.manifest.inputs)


_known: WeakKeyDictionary[VerifiedModel, Intake] = WeakKeyDictionary()


def intake(model: VerifiedModel) -> Intake:
    """Return a model's intake; a model that is promoted again has it already."""
    if (known := _known.get(model)) is None:
        known = _known[model] = Intake(model)
    return known
