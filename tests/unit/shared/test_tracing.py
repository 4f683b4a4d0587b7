"""A trace's id follows from its request's; what nobody asked for is not traced."""

import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from shared.tracing import Tracing, trace_id
from tests.otlp import receiving
from tests.servers import wait_for

QUIET = """
import sys, time
from shared.tracing import tracing
tracing.start("test", "")
tracing.record("swap", "r", time.time())
assert not any(name.startswith("opentelemetry") for name in sys.modules)
"""


@given(st.uuids())
def test_a_uuid_is_its_own_trace(identity: uuid.UUID) -> None:
    assert trace_id(str(identity)) == identity.int


@given(st.text(min_size=1, max_size=50))
def test_any_id_has_a_trace_and_always_the_same(identity: str) -> None:
    assert trace_id(identity) == trace_id(identity) < 2**128


def test_without_an_endpoint_nothing_is_imported() -> None:
    subprocess.run([sys.executable, "-c", QUIET], check=True)


def test_spans_of_one_request_reach_the_receiver_in_one_trace() -> None:
    began = time.time() - 1
    with receiving() as receiver:
        tracing = Tracing()
        tracing.start("test", receiver.url + "/")
        tracing.record("train", "a request", began, model="heart")
        tracing.record("swap", "a request", time.time() + 3600)  # of a clock that is ahead
        tracing.record("swap", None, began)
        tracing.record("swap", "a request", began, datetime.fromtimestamp(began + 0.25, UTC))  # told later
        wait_for("three spans", lambda: len(receiver.spans) == 3)
        tracing.stop()
    train, swap, told = receiver.spans
    assert train.trace == swap.trace == f"{trace_id('a request'):032x}"
    assert (train.name, train.service, train.attributes["baton.model"]) == ("train", "baton-test", "heart")
    assert abs(train.started - began) < 0.001
    assert swap.ended >= swap.started
    assert abs(told.ended - told.started - 0.25) < 0.001
