"""Metric files, line by line."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.migrate.findings import Findings
from cli.migrate.metric import Point, latest, read_model_points, read_points


@pytest.mark.parametrize(
    ("raw", "points", "found"),
    [
        (b"1 0.5\n", [Point(1, 0.5, 0, is_nan=False)], 0),
        (b"1 0.5 2\n", [Point(1, 0.5, 2, is_nan=False)], 0),
        (b"1 0.5 2 data digest\n", [Point(1, 0.5, 2, is_nan=False)], 0),
        (b"1 nan 0\n", [Point(1, 0.0, 0, is_nan=True)], 0),
        (b"1 -inf 0\n", [Point(1, -1.7976931348623157e308, 0, is_nan=False)], 0),
        (b"1 0.5 0\n1 0.5 0\n", [Point(1, 0.5, 0, is_nan=False)], 0),
        (b"1 0.5 0\r\n", [Point(1, 0.5, 0, is_nan=False)], 0),
        (b"1 0.5 0\n2 0.", [Point(1, 0.5, 0, is_nan=False)], 1),
        (b"x 0.5 0\n1 0.5 0 y\n\n", [], 2),
        (b"\xff\xfe\n", [], 1),
    ],
)
def test_a_point_per_line_and_a_finding_per_line_that_is_none(raw: bytes, points: list[Point], found: int) -> None:
    findings = Findings()
    assert read_points(raw, "m", findings) == points
    assert len(findings.items) == found


def test_a_logged_model_s_point_names_its_run_and_perhaps_a_data_set() -> None:
    first, second = read_model_points(b"1 0.5 0 run\n1 0.5 0 run data digest\n", "m", Findings())
    assert (first.run_id, first.dataset, second.dataset) == ("run", None, ("data", "digest"))


def test_the_latest_point_is_the_one_of_the_last_step() -> None:
    early, late = Point(9, 5.0, 1, is_nan=False), Point(1, 0.0, 2, is_nan=True)
    assert latest([early, late]) == late


@given(st.binary(max_size=200))
def test_no_bytes_raise_and_values_fit_the_database(raw: bytes) -> None:
    for point in read_points(raw, "m", Findings()):
        assert math.isfinite(point.value)
        assert abs(point.timestamp) < 2**63
