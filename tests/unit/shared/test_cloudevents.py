"""CloudEvents in binary mode: attributes as headers, any text reversibly."""

from datetime import datetime
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cloudevents import MSG_ID, event_id, headers

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_the_attributes_of_an_event() -> None:
    made = headers("model.promoted", source="promoter", model="heart", event_id="l:heart:1")
    time = made.pop("ce-time")
    assert datetime.fromisoformat(time).tzinfo is not None
    assert made == {
        "ce-specversion": "1.0",
        "ce-id": "l:heart:1",
        "ce-source": "/baton/promoter",
        "ce-type": "model.promoted",
        "ce-subject": "heart",
        "ce-datacontenttype": "application/json",
        MSG_ID: "l:heart:1",
    }


@given(texts, texts)
def test_any_text_goes_through_a_header_and_comes_back(model: str, identity: str) -> None:
    made = headers("t", source="s", model=model, event_id=identity)
    for value in made.values():
        assert all("!" <= character <= "~" and character != '"' for character in value)
    assert unquote(made["ce-subject"]) == model
    assert event_id(made) == identity


def test_each_event_without_an_id_gets_another() -> None:
    first, second = (headers("t", source="s", model="m") for _ in range(2))
    assert first["ce-id"] != second["ce-id"]
    assert first[MSG_ID] == first["ce-id"]


@pytest.mark.parametrize(
    ("given_headers", "expected"),
    [(None, None), ({}, None), ({MSG_ID: "x"}, "x"), ({"ce-id": "a%20b", MSG_ID: "x"}, "a b"), ({"ce-id": ""}, None)],
)
def test_the_id_of_a_message_published_by_hand(given_headers: dict[str, str] | None, expected: str | None) -> None:
    assert event_id(given_headers) == expected
