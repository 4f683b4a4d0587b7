"""Ports: what a user writes, and what is free."""

import os
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.local.ports import HOST, choose, parse_ports
from compose.local.settings import PORT_FIELDS
from shared.errors import StackError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(1)
        yield int(listener.getsockname()[1])


def test_assignments_are_read_and_the_last_one_counts() -> None:
    assert parse_ports(["predictor=9000", "nats=0", "predictor=9001"]) == {"predictor": 9001, "nats": 0}


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("grafana=1", "one of predictor, promoter"),
        ("predictor", "from 0"),
        ("predictor=", "from 0"),
        ("predictor=web", "as in predictor=9000"),
        ("predictor=-1", "from 0"),
        ("predictor=65536", "to 65535"),
        ("predictor=٣", "from 0"),
        ("=8000", "no such service"),
        ("", "no such service"),
    ],
)
def test_a_bad_assignment_is_named_with_what_is_expected(assignment: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        parse_ports([assignment])
    assert repr(assignment) in str(error.value)


@given(st.dictionaries(st.sampled_from(sorted(PORT_FIELDS)), st.integers(0, 65535)))
def test_what_is_written_is_what_is_read(ports: dict[str, int]) -> None:
    assert parse_ports(f"{service}={port}" for service, port in ports.items()) == ports


def test_zero_takes_free_ports_and_no_two_the_same() -> None:
    chosen = choose(dict.fromkeys(PORT_FIELDS, 0))
    assert len(set(chosen.values())) == len(PORT_FIELDS)
    assert all(port > 0 for port in chosen.values())


def test_a_taken_port_is_named_with_its_holder_and_how_to_change_it(taken: int) -> None:
    with pytest.raises(StackError) as error:
        choose({"mlflow": taken, "nats": 0})
    for said in (f"port {taken} for mlflow", f"pid {os.getpid()}", "--port mlflow=N", "BATON_MLFLOW_PORT"):
        assert said in str(error.value)


def test_a_taken_port_that_nobody_chose_may_be_replaced(taken: int) -> None:
    chosen = choose({"mlflow": taken, "nats": 0}, replaceable={"mlflow"})
    assert chosen["mlflow"] not in {0, taken}


def test_two_services_on_one_port_are_refused(taken: int) -> None:
    free = choose({"nats": 0})["nats"]
    with pytest.raises(StackError, match=f"port {free} for mlflow"):
        choose({"nats": free, "mlflow": free})
