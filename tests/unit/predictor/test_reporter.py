"""The reporter: of two changes of a model, what comes first is said first."""

import asyncio

import pytest
from structlog.testing import capture_logs

from services.predictor.courtesy import REST_S
from services.predictor.slot import Champion
from shared.errors import BundleError
from shared.events import BundleRef, ModelPromoted
from shared.verification import VerifiedModel
from tests.unit.predictor.conftest import Parts, promoted, until

BUNDLE = BundleRef(object="sha256-1", digest="sha256:1", size=1)


def note(parts: Parts, verified: VerifiedModel, change: ModelPromoted, *, is_served: bool) -> None:
    if is_served:
        champion = Champion(
            model="m",
            version=change.version,
            generation=change.generation,
            ledger=change.ledger,
            digest=change.bundle.digest,
            verified=verified,
            since=change.committed_at,
        )
        parts.reporter.serving(change, champion, prefetched=True, swap_ms=0.1)
    else:
        parts.reporter.rejected(change, "m", BundleError("other answers", "golden"))


async def test_its_steps_come_between_those_of_the_streams_copy(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = await parts.cache.verified(await parts.bundle(0.25), parts.bus)
    rests: list[float] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda seconds, _: rests.append(seconds / REST_S))
    note(parts, verified, promoted(BUNDLE, "1", 1), is_served=True)
    assert rests == pytest.approx([1.5, 2.5, 3.5])


@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True), (False, False)])
async def test_reports_come_in_the_order_of_the_changes(parts: Parts, first: bool, second: bool) -> None:
    verified = await parts.cache.verified(await parts.bundle(0.25), parts.bus)
    with capture_logs() as said:
        note(parts, verified, promoted(BUNDLE, "1", 1), is_served=first)
        await asyncio.sleep(REST_S / 2)  # the second comes before the first is said
        note(parts, verified, promoted(BUNDLE, "2", 2), is_served=second)
        await until(lambda: len(said) == 2, "both to be said")
    words = {True: "serving", False: "rejected"}
    assert [(line["event"], line["version"]) for line in said] == [(words[first], "1"), (words[second], "2")]
