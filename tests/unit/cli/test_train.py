"""When a train request is over, and with which exit code."""

from typing import Any

import pytest

from cli import output
from cli.train import TrainOutcome, _parameter
from shared.event import Event
from shared.events import ModelServing, PromotionDecided, RunFailed, RunFinished

BUNDLE = {"object": "o", "digest": "sha256:0", "size": 1}


def finished(request_id: str = "mine") -> RunFinished:
    return RunFinished.model_validate(
        {"request_id": request_id, "run_id": "x", "version": "2", "metrics": {}, "bundle": BUNDLE}
    )


def decided(verdict: str, request_id: str = "mine") -> PromotionDecided:
    return PromotionDecided.model_validate(
        {
            "decision": "d",
            "request_id": request_id,
            "version": "2",
            "champion": None,
            "verdict": verdict,
            "reason": "because",
            "rules": [],
            "challenger_metrics": {},
        }
    )


def serving(version: str = "2") -> ModelServing:
    numbers = dict.fromkeys(("load_ms", "verify_ms", "swap_ms", "delay_ms"), 1.0)
    return ModelServing.model_validate(
        {"predictor": "p", "worker": 0, "version": version, "generation": 1, "ledger": "l", "prefetched": True}
        | numbers
    )


@pytest.mark.parametrize(
    ("events", "over", "code"),
    [
        ([finished()], False, output.REFUSED),
        ([RunFailed(request_id="mine", kind="crashed", message="m")], True, output.FAILED),
        ([RunFailed(request_id="other", kind="crashed", message="m")], False, output.REFUSED),
        ([finished(), decided("refused")], True, output.REFUSED),
        ([finished(), decided("promoted")], False, output.DONE),
        ([finished(), decided("promoted"), serving()], True, output.DONE),
        ([finished(), decided("promoted"), serving("1")], False, output.DONE),
        ([finished(), decided("refused", "other")], False, output.REFUSED),
    ],
)
def test_outcome(events: list[Event], over: bool, code: int) -> None:
    outcome = TrainOutcome("mine")
    for event in events:
        outcome.take(event)
    assert (outcome.over, outcome.exit_code) == (over, code)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("C=0.5", ("C", 0.5)), ("n=3", ("n", 3)), ("deep=true", ("deep", True)), ("name=a=b", ("name", "a=b"))],
)
def test_parameters_are_json_or_a_bare_word(text: str, expected: tuple[str, Any]) -> None:
    assert _parameter(text) == expected
