"""Ids of events as keys."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.js.kv import _is_key_valid
from pydantic import TypeAdapter

from shared.delivery import as_key
from shared.events import RequestId

REQUEST_ID = TypeAdapter(RequestId)


@given(st.text(min_size=1, max_size=300))
def test_every_id_has_a_key(event_id: str) -> None:
    key = as_key(event_id)
    assert REQUEST_ID.validate_python(key) == key
    assert _is_key_valid(key)


@given(st.text(min_size=1, max_size=50), st.text(min_size=1, max_size=50))
def test_different_ids_have_different_keys(one: str, other: str) -> None:
    assert (as_key(one) == as_key(other)) == (one == other)


@pytest.mark.parametrize("event_id", [str(uuid.UUID(int=7)), "TRAINING-12", "nightly_7"])
def test_a_plain_id_is_its_own_key(event_id: str) -> None:
    assert as_key(event_id) == event_id
