"""Intake: worked out while a bundle is verified, once for all promotions of it."""

from unittest.mock import Mock

import pytest

from services.predictor import intake as module
from tests.unit.predictor.conftest import Parts, promoted


async def test_what_a_model_takes_is_worked_out_before_it_is_promoted(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [await parts.bundle(share) for share in (0.25, 0.75)]
    for ref in refs:
        await parts.challengers.get("m", ref)
    monkeypatch.setattr(module, "Validator", Mock(side_effect=AssertionError("a request would wait for it")))
    validators = []
    for generation, ref in enumerate([*refs, *refs], start=1):
        parts.follower.follow("m", promoted(ref, "1", generation))
        champion = parts.slots.champion("m")
        assert champion.seen
        validators.append(champion.validator)
    assert validators[:2] == validators[2:]
    assert validators[0] is not validators[1]
    await parts.follower.stop()
