"""What a trainer counts."""

import math

import pytest

from services.trainer.meters import OUTCOMES, Meters
from shared.errors import UnreachableError
from shared.events import RunFailed
from tests.exposition import counted


def test_requests_are_counted_by_how_they_ended() -> None:
    meters = Meters(lambda: 3)
    with meters.attempt() as ended:
        ended(RunFailed(request_id="r", kind="refused", message="no such recipe"))
    with meters.attempt() as ended:
        ended(None)  # it had ended before
    found = counted(meters.exposed(2).decode())
    ended_as = {key[1]: value for key, value in found.items() if key[0] == "baton_train_request_seconds_count"}
    assert ended_as == dict.fromkeys(OUTCOMES, 0) | {"refused": 1}  # from zero on, or the first would be no increase
    assert (found["baton_trainings_running",], found["baton_train_queue",]) == (3, 2)


def test_an_attempt_that_ends_nothing_is_counted_as_postponed() -> None:
    meters = Meters(lambda: 0)
    with pytest.raises(UnreachableError), meters.attempt():
        raise UnreachableError("MLflow is away")
    assert counted(meters.exposed(0).decode())["baton_train_requests_postponed_total",] == 1


def test_a_queue_that_nobody_tells_of_is_not_called_empty() -> None:
    assert math.isnan(counted(Meters(lambda: 0).exposed(None).decode())["baton_train_queue",])
