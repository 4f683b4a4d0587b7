"""A run replaces the parts of today's results that it measured, and no others."""

import json
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.results import Report, Row, ratios, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    return tmp_path


def line(system: str, kind: str, rps: float, p50_ms: float = 1.0) -> Row:
    figures = {"rps": rps, "p50_ms": p50_ms, "p99_ms": 2 * p50_ms, "errors": 0}
    return {"system": system, "kind": kind, "model": "m", "connections": 16} | figures


def test_what_was_not_measured_stays(folder: Path) -> None:
    write(Report(machine={"cores": 2}, serving=[line("baton", "baton", 100)], reload=[{"system": "baton"}]))
    path = write(Report(machine={"cores": 4}, reload=[{"system": "mlserver"}], fleet=[{"predictors": 1000}]))
    whole = json.loads(path.read_text())
    assert whole["machine"] == {"cores": 4}
    assert [row["system"] for row in whole["serving"]] == ["baton"]
    assert whole["reload"] == [{"system": "mlserver"}]
    assert whole["fleet"] == [{"predictors": 1000}]


def test_another_processor_has_a_file_of_its_own(folder: Path) -> None:
    first = write(Report(machine={"processor": "Intel(R) Xeon(R)"}, reload=[{"system": "baton"}]))
    for number in (1, 2):
        other = write(Report(machine={"processor": "AMD EPYC"}, fleet=[{"predictors": number}]))
        assert other.name == f"{first.stem}-amd-epyc.json"
    assert json.loads(first.read_text())["machine"] == {"processor": "Intel(R) Xeon(R)"}
    assert (json.loads(other.read_text())["reload"], json.loads(other.read_text())["fleet"]) == (
        [],
        [{"predictors": 2}],
    )


def test_what_was_arranged_for_a_part_stands_above_its_lines(folder: Path) -> None:
    write(Report(conditions={"reload": "idle cores awake"}, reload=[{"system": "baton"}]))
    path = write(Report(conditions={"serving": "idle cores asleep"}, serving=[line("baton", "baton", 100)]))
    text = path.with_suffix(".md").read_text()
    assert "## Reloads\n\nWith idle cores awake.\n\n| system" in text
    assert "## Single rows\n\nWith idle cores asleep.\n\n| system" in text


def test_markdown_shows_every_part_that_has_lines(folder: Path) -> None:
    report = Report(reload=[{"system": "baton", "failed": 0}], fleet=[{"predictors": 1000}])
    text = write(report).with_suffix(".md").read_text()
    assert "## Reloads\n\n| system | failed |\n|---|---|\n| baton | 0 |" in text
    assert "## A fleet\n\n| predictors |\n|---|\n| 1000 |" in text
    assert "## Single rows" not in text


@pytest.mark.parametrize(("niceness", "is_preliminary"), [(19, True), (0, False)])
def test_figures_of_a_run_that_had_to_give_way_are_preliminary(
    folder: Path, niceness: int, is_preliminary: bool
) -> None:
    text = write(Report(machine={"niceness": niceness})).with_suffix(".md").read_text()
    assert ("**Preliminary:**" in text) is is_preliminary


def test_baton_is_compared_with_the_best_peer_and_the_limit() -> None:
    rows = [
        line("baton", "baton", 100, 1.0),
        line("slow", "peer", 5, 30.0),
        line("fast", "peer", 20, 40.0),
        line("limit", "limit", 200),
    ]
    (said,) = ratios(Report(serving=rows))
    assert said == (
        "m, 16 connections, 1 row: 5.0 x the best peer (fast), "
        "p99 2.0 ms, the peers' lowest p50 30.0 ms, 0.50 of the limit"
    )


def test_a_peer_without_a_right_answer_is_no_best_peer() -> None:
    (said,) = ratios(Report(serving=[line("baton", "baton", 100), line("broken", "peer", 0)]))
    assert "best peer" not in said
