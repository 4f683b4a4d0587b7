"""Each check of the chaos passes what is right and finds what is wrong."""

from dataclasses import replace

import pytest

from tests.chaos import checks
from tests.chaos.evidence import (
    Captured,
    Decided,
    Ending,
    Evidence,
    Published,
    Registered,
    Report,
    Staged,
    Witnessed,
)

GOOD = Evidence(
    requests=["a", "b"],
    commands=["by hand"],
    endings=[Ending("a", "a:ended", "1"), Ending("b", "b:ended", None)],
    registered=[Registered("a", "1", "run a"), Registered("a", "2", "run a")],  # version 2 is a user's copy
    witnessed=[
        Witnessed(10, "m", "1"),
        Witnessed(11, "m", "2"),
        Witnessed(11, "m", "1"),  # in the end nothing changed
        Witnessed(12, "m", None),
        Witnessed(12, "m", "2"),  # deleted and made anew in one transaction
        Witnessed(13, "m", None),
        Witnessed(14, "m", "1"),
    ],
    captured=[Captured("m", 1, "1", "d1"), Captured("m", 2, "2"), Captured("m", 3, None), Captured("m", 4, "1", "d2")],
    published=[
        Published("m", 1, "1"),
        Published("m", 2, "2", rejected=True),
        Published("m", 3, None),
        Published("m", 4, "1"),
    ],
    reports=[
        Report("p", 0, "m", 1, 100.0),
        Report("p", 1, "m", 4, 101.0),
        Report("p", 0, "m", 4, 102.0),
        Report("p", 0, "m", 1, 111.0),  # by a new process, from its disk cache
        Report("p", 0, "m", 4, 112.0),
    ],
    worker_starts=[90.0, 110.0],
    decided=[
        Decided("d0", "a:ended", superseded=True),
        Decided("d1", "a:ended", superseded=False),
        Decided("d2", "by hand", superseded=False),
    ],
    announced=["d1", "d2"],
    staged=[Staged("m", "1", "Production"), Staged("m", "2", "Archived"), Staged("other", "1", "Production")],
    serving={"0": {"m": ("1", 4)}, "1": {"m": ("1", 4)}},
)

BAD = {
    "a request without an end": (checks.each_request_ends_once, replace(GOOD, endings=GOOD.endings[:1])),
    "a request with two ends": (
        checks.each_request_ends_once,
        replace(GOOD, endings=[*GOOD.endings, Ending("b", "b:ended", None)]),
    ),
    "an end of no request": (
        checks.each_request_ends_once,
        replace(GOOD, endings=[*GOOD.endings, Ending("c", "c:ended", None)]),
    ),
    "two versions of one request": (
        checks.each_request_makes_one_version,
        replace(GOOD, registered=[*GOOD.registered, Registered("a", "3", "another run")]),
    ),
    "a version of a request that failed": (
        checks.each_request_makes_one_version,
        replace(GOOD, registered=[*GOOD.registered, Registered("b", "3", "run b")]),
    ),
    "a finished request whose version is not there": (
        checks.each_request_makes_one_version,
        replace(GOOD, registered=[]),
    ),
    "a change that was not captured": (
        checks.each_change_has_one_generation,
        replace(GOOD, captured=GOOD.captured[:-1]),
    ),
    "a change that nobody made": (
        checks.each_change_has_one_generation,
        replace(GOOD, captured=[*GOOD.captured, Captured("m", 5, "2")]),
    ),
    "a generation that was skipped": (
        checks.each_change_has_one_generation,
        replace(GOOD, captured=[*GOOD.captured[:-1], Captured("m", 5, "1")]),
    ),
    "changes captured in another order": (
        checks.each_change_has_one_generation,
        replace(GOOD, captured=[Captured("m", 1, "2"), Captured("m", 2, "1"), *GOOD.captured[2:]]),
    ),
    "a change of a model that was never captured": (
        checks.each_change_has_one_generation,
        replace(GOOD, witnessed=[*GOOD.witnessed, Witnessed(20, "other", "1")]),
    ),
    "a generation that was not published": (
        checks.each_generation_is_published_once,
        replace(GOOD, published=GOOD.published[:-1]),
    ),
    "a generation that was published twice": (
        checks.each_generation_is_published_once,
        replace(GOOD, published=[*GOOD.published, Published("m", 4, "1")]),
    ),
    "a generation that was published and rejected": (
        checks.each_generation_is_published_once,
        replace(GOOD, published=[*GOOD.published, Published("m", 2, "2")]),
    ),
    "a generation that was published with another version": (
        checks.each_generation_is_published_once,
        replace(GOOD, published=[Published("m", 1, "2"), *GOOD.published[1:]]),
    ),
    "generations published out of order": (
        checks.each_generation_is_published_once,
        replace(GOOD, published=[*GOOD.published[1:], GOOD.published[0]]),
    ),
    "a worker that went back": (
        checks.generations_only_grow,
        replace(GOOD, worker_starts=[90.0]),
    ),
    "a worker that serves an older version": (
        checks.predictors_serve_champions,
        replace(GOOD, serving={"0": {"m": ("1", 4)}, "1": {"m": ("1", 1)}}),
    ),
    "a worker that serves what was withdrawn": (
        checks.predictors_serve_champions,
        replace(GOOD, published=GOOD.published[:3]),
    ),
    "a worker that serves nothing": (checks.predictors_serve_champions, replace(GOOD, serving={"0": {}})),
    "no worker at all": (checks.predictors_serve_champions, replace(GOOD, serving={})),
    "two standing decisions on an event": (
        checks.one_decision_per_event,
        replace(
            GOOD, decided=[*GOOD.decided, Decided("d3", "by hand", superseded=False)], announced=["d1", "d2", "d3"]
        ),
    ),
    "a finished run that nobody decided on": (
        checks.one_decision_per_event,
        replace(GOOD, decided=GOOD.decided[2:], announced=["d2"]),
    ),
    "a command that nobody decided on": (
        checks.one_decision_per_event,
        replace(GOOD, decided=GOOD.decided[:2], announced=["d1"]),
    ),
    "a decision that was said twice": (checks.one_decision_per_event, replace(GOOD, announced=["d1", "d2", "d2"])),
    "a decision that was not said": (checks.one_decision_per_event, replace(GOOD, announced=["d1"])),
    "a decision that was said and not recorded": (
        checks.one_decision_per_event,
        replace(GOOD, announced=["d1", "d2", "d9"]),
    ),
    "a decision that was not carried out": (
        checks.one_decision_per_event,
        replace(GOOD, decided=[*GOOD.decided[:2], Decided("d2", "by hand", superseded=False, open=True)]),
    ),
    "a decision that promoted twice": (
        checks.no_decision_promotes_twice,
        replace(GOOD, captured=[replace(row, decision="d1") for row in GOOD.captured]),
    ),
    "a champion that is not in Production": (
        checks.stages_agree,
        replace(GOOD, staged=[Staged("m", "1", "None")]),
    ),
    "another version in Production": (
        checks.stages_agree,
        replace(GOOD, staged=[*GOOD.staged, Staged("m", "3", "Production")]),
    ),
}


def test_what_is_right_is_no_violation() -> None:
    assert checks.violations(GOOD) == []


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_found(name: str) -> None:
    check, evidence = BAD[name]
    assert list(check(evidence))
    assert any(violation.startswith(check.__name__) for violation in checks.violations(evidence))


def test_every_check_is_shown_to_fail() -> None:
    shown: set[checks.Check] = {check for check, _ in BAD.values()}
    assert shown == set(checks.CHECKS)
