"""Events that this version stored stay readable: a sample of each, as the bus keeps it (docs/events.md)."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.cloudevents import event_id
from shared.errors import EventError
from shared.events import CATALOGUE, PromotionRequested, TrainRequested, parse

SAMPLES = Path(__file__).parents[2] / "samples"
STRICT = {TrainRequested.type, PromotionRequested.type}  # commands, whose misspelt fields would change what is done
TYPES = [event.type for event in CATALOGUE]


def sample(kind: str) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((SAMPLES / f"{kind}.json").read_text())
    return stored


def test_there_is_one_of_each() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == set(TYPES)


@pytest.mark.parametrize("kind", TYPES)
def test_everything_that_was_said_is_understood(kind: str) -> None:
    stored = sample(kind)
    model, event = parse(stored["subject"], json.dumps(stored["body"]).encode())
    assert (model, event.type) == ("heart disease", kind)
    understood = json.loads(event.model_dump_json())
    assert {name: understood.get(name) for name in stored["body"]} == stored["body"]
    assert event_id(stored["headers"]) == f"sample-{kind}"
    assert stored["headers"]["ce-type"] == kind


@pytest.mark.parametrize("event", CATALOGUE, ids=TYPES)
def test_a_sample_says_all_that_can_be_said(event: Any) -> None:
    body = sample(event.type)["body"]
    assert body.keys() == event.model_fields.keys()
    assert [name for name, field in event.model_fields.items() if body[name] == field.get_default()] == []


@pytest.mark.parametrize("kind", TYPES)
def test_what_a_later_version_adds_is_left_out_except_in_commands(kind: str) -> None:
    stored = sample(kind)
    later = json.dumps(stored["body"] | {"said_later": 1}).encode()
    if kind in STRICT:
        with pytest.raises(EventError, match="said_later"):
            parse(stored["subject"], later)
    else:
        assert parse(stored["subject"], later) == parse(stored["subject"], json.dumps(stored["body"]).encode())
