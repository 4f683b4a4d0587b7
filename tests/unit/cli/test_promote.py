"""What the verbs that ask the promoter take, and what they refuse before they ask anybody."""

from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from cli import output
from cli.following import Outcome
from cli.main import make_app
from cli.promote import _command, _common_code
from cli.records import duration, read_instant
from shared.events import ModelRejected, PromotionDecided


@pytest.mark.parametrize(
    "arguments",
    [
        ["promote"],
        ["promote", "m", "three"],
        ["promote", "m", "3", "--auto"],
        ["approve", "m", "v3"],
        ["rollback", "m", "--to", "the first"],
        ["cleanup", "m", "--keep", "0"],
        ["cleanup", "m"],
        ["cleanup", "--keep", "5"],
        ["cleanup", "m", "--all", "--keep", "5"],
        ["audit", "--at", "yesterday"],
        ["audit", "--at", "2026-13-01"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_said_before_anybody_is_asked(arguments: list[str]) -> None:
    result = CliRunner().invoke(make_app(), arguments)
    assert result.exit_code == output.USAGE
    assert "Error" in result.output


def test_a_command_names_who_asks() -> None:
    assert _command(actor="ann", version="3").actor == "ann"
    assert _command(actor=None).actor
    with pytest.raises(typer.BadParameter, match="'three'"):
        _command(actor="ann", version="three")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01T12:00Z", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("2026-05-01T14:00+02:00", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("2026-05-01 14:00:30+02:00", datetime(2026, 5, 1, 12, 0, 30, tzinfo=UTC)),
        ("2026-05-01T12:00", datetime(2026, 5, 1, 12).astimezone()),
        ("2026-05-01", datetime(2026, 5, 1).astimezone()),
    ],
)
def test_an_instant_with_a_zone_or_in_local_time(text: str, expected: datetime) -> None:
    assert read_instant(text) == expected


def test_a_time_span_is_said_to_the_second() -> None:
    assert duration(timedelta(days=2, seconds=61.4).total_seconds()) == "2 days, 0:01:01"
    assert duration(None) == "-"


def decided(verdict: str) -> PromotionDecided:
    return PromotionDecided.model_validate(
        {"decision": "d", "request_id": "mine", "version": "3", "champion": "2", "generation": 5, "verdict": verdict}
        | {"reason": "because", "rules": [], "challenger_metrics": {}}
    )


def outcome(verdict: str) -> Outcome:
    return Outcome("mine", decided=decided(verdict))


@pytest.mark.parametrize(
    ("verdict", "over", "code"),
    [
        ("promoted", False, output.DONE),
        ("refused", True, output.REFUSED),
        ("awaiting", True, output.DONE),
        ("done", True, output.DONE),
    ],
)
def test_a_command_is_over_when_it_is_decided_and_served(verdict: str, over: bool, code: int) -> None:
    found = outcome(verdict)
    assert (found.over, found.exit_code) == (over, code)


@pytest.mark.parametrize(("generation", "counts"), [(5, False), (6, True)])
def test_what_predictors_said_before_the_decision_does_not_count(generation: int, counts: bool) -> None:
    found = outcome("promoted")
    rejected = ModelRejected(
        predictor="p", worker=0, version="3", generation=generation, ledger="l", check="golden", message="off"
    )
    assert found.take(rejected) == counts
    assert found.over == counts


def test_one_that_was_waited_for_in_vain_is_said_to_be() -> None:
    found = Outcome("mine", gave_up="no promoter decided")
    assert (found.exit_code, found.as_dict()) == (
        output.UNREACHABLE,
        {"request_id": "mine", "gave_up": "no promoter decided"},
    )


def test_what_is_waited_for_is_said() -> None:
    assert "no promoter decided" in Outcome("mine").missing
    assert "no predictor said that it serves it" in outcome("promoted").missing


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], output.DONE),
        (["promoted", "promoted"], output.DONE),
        (["refused", "refused"], output.REFUSED),
        (["promoted", "refused"], output.PARTLY),
    ],
)
def test_several_models_share_an_exit_code_or_are_done_in_part(verdicts: list[str], code: int) -> None:
    assert _common_code({str(n): outcome(verdict) for n, verdict in enumerate(verdicts)}, waited=True) == code
