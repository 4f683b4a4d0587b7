"""The catalogue: subjects carry any model name reversibly, bodies are read strictly enough to be trusted."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import EventError
from shared.event import model_name, subject_token
from shared.events import BY_TYPE, CATALOGUE, BundleRef, ModelPromoted, TrainRequested, parse

PROMOTED = ModelPromoted(
    version="2", run_id="r", previous=None, generation=3, ledger="l", actor="a", reason="", decision=None,
    committed_at=datetime.now(UTC), bundle=BundleRef(object="o", digest="sha256:1", size=1),
)  # fmt: skip
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(names)
def test_a_model_name_is_one_token_and_comes_back(model: str) -> None:
    token = subject_token(model)
    assert not set(token) & set(". *>\t\r\n~")
    assert token.isascii()
    assert model_name(ModelPromoted.subject(model)) == model


@given(names, names)
def test_different_models_have_different_subjects(one: str, other: str) -> None:
    assert (subject_token(one) == subject_token(other)) == (one == other)


def test_plain_names_stay_readable() -> None:
    assert ModelPromoted.subject("heart-disease_2") == "model.promoted.heart-disease_2"
    assert ModelPromoted.subject("a.b c") == "model.promoted.a%2Eb%20c"
    assert ModelPromoted.all_subjects() == "model.promoted.>"


def test_an_event_comes_back_from_its_subject_and_body() -> None:
    body = PROMOTED.model_dump_json().encode()
    assert parse(PROMOTED.subject("a.b"), body) == ("a.b", PROMOTED)


def test_what_later_versions_add_is_ignored_in_facts() -> None:
    body = PROMOTED.model_dump(mode="json") | {"later": 1}
    assert ModelPromoted.model_validate(body) == PROMOTED


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"no json", ""),
        (b"[]", ""),
        (b'{"dataset":"d"}', "recipe"),
        (b'{"recipe":"","dataset":"d"}', "recipe"),
        (b'{"recipe":"r","dataset":"d","seed":-1}', "seed"),
        (b'{"recipe":"r","dataset":"d","sead":1}', "sead"),
        (b'{"recipe":"r","dataset":"d","request_id":"a b"}', "request_id"),
        (b'{"recipe":"r","dataset":"d","tags":{"a":1}}', "tags.a"),
    ],
)
def test_a_malformed_command_names_the_field(body: bytes, field: str) -> None:
    with pytest.raises(EventError, match=r"train\.requested is malformed") as malformed:
        TrainRequested.parse(body)
    assert malformed.value.field == field


def test_a_subject_that_nobody_speaks_on() -> None:
    with pytest.raises(EventError, match="no event of the catalogue"):
        parse("model.exploded.m", b"{}")


def test_the_catalogue_is_consistent() -> None:
    assert len(BY_TYPE) == len(CATALOGUE)
    assert all(event.stream is not None and event.__doc__ for event in CATALOGUE)
