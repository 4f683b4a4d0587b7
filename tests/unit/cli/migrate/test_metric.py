"""Metric files, line by line."""

import io
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.migrate.findings import Findings
from cli.migrate.history import History
from cli.migrate.metric import LONGEST, NAMED, Point, latest, model_point, read_points, run_point


@pytest.mark.parametrize(
    ("raw", "points", "found"),
    [
        (b"1 0.5\n", [Point(1, 0.5, 0, is_nan=False)], 0),
        (b"1 0.5 2\n", [Point(1, 0.5, 2, is_nan=False)], 0),
        (b"1 0.5 2 data digest\n", [Point(1, 0.5, 2, is_nan=False)], 0),
        (b"1 nan 0\n", [Point(1, 0.0, 0, is_nan=True)], 0),
        (b"1 -inf 0\n", [Point(1, -1.7976931348623157e308, 0, is_nan=False)], 0),
        (b"1 0.5 0\r\n", [Point(1, 0.5, 0, is_nan=False)], 0),
        (b"1 0.5 0\n2 0.", [Point(1, 0.5, 0, is_nan=False)], 1),
        (b"x 0.5 0\n1 0.5 0 y\n\n", [], 2),
        (b"\xff\xfe\n", [], 1),
    ],
)
def test_a_point_per_line_and_a_finding_per_line_that_is_none(raw: bytes, points: list[Point], found: int) -> None:
    findings = Findings()
    assert list(read_points(io.BytesIO(raw), run_point, "m", findings)) == points
    assert len(findings.items) == found


def test_a_logged_model_s_point_names_its_run_and_perhaps_a_data_set() -> None:
    lines = b"1 0.5 0 run\n1 0.5 0 run data digest\n"
    first, second = read_points(io.BytesIO(lines), model_point, "m", Findings())
    assert (first.run_id, first.dataset, second.dataset) == ("run", None, ("data", "digest"))


def test_the_latest_point_is_the_one_of_the_last_step() -> None:
    early, late = Point(9, 5.0, 1, is_nan=False), Point(1, 0.0, 2, is_nan=True)
    assert latest([early, late]) == late


@given(st.binary(max_size=200))
def test_no_bytes_raise_and_values_fit_the_database(raw: bytes) -> None:
    for point in read_points(io.BytesIO(raw), run_point, "m", Findings()):
        assert math.isfinite(point.value)
        assert abs(point.timestamp) < 2**63


@given(st.binary(max_size=200))
def test_no_bytes_raise_for_a_logged_model_either(raw: bytes) -> None:
    for point in read_points(io.BytesIO(b"1 0.5 0 " + raw + b"\n" + raw), model_point, "m", Findings()):
        assert "\0" not in point.run_id


def test_of_many_bad_lines_few_are_named_and_the_rest_counted() -> None:
    findings = Findings()
    assert list(read_points(io.BytesIO(b"no\n" * 1000), run_point, "m", findings)) == []
    assert len(findings.items) == NAMED + 1
    assert findings.items[-1].reason == "980 more lines are no points either"


def test_a_line_without_end_is_skipped_and_the_next_one_read() -> None:
    findings = Findings()
    lines = io.BytesIO(b"x" * 3 * LONGEST + b"\n1 0.5 2\n")
    assert list(read_points(lines, run_point, "m", findings)) == [Point(1, 0.5, 2, is_nan=False)]
    assert [finding.reason[:20] for finding in findings.items] == ["the line is too long"]


def test_a_history_comes_in_pieces_without_repetition(tmp_path: Path) -> None:
    file = tmp_path / "m"
    file.write_text("1 0.5 1\n1 0.5 1\n1 0.5 2\n1 0.5 3\n1 0.5 4\n")
    pieces = [[point.step for point in piece] for piece in History(str(file), "m").pieces(Findings(), 4)]
    assert pieces == [[1, 2, 3], [4]]
