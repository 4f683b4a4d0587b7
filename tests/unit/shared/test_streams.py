"""Streams: every event of the catalogue is kept by exactly the stream that it names."""

import pytest
from nats.js.api import RetentionPolicy, StreamConfig

from shared.event import Event, Stream
from shared.events import CATALOGUE
from shared.streams import stream_configs


def matches(pattern: str, subject: str) -> bool:
    """Say whether a subject falls under a pattern that may end in `>`."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return tokens[: len(wanted) - 1] == wanted[:-1] and len(tokens) >= len(wanted)
    return wanted == tokens


def keepers(subject: str) -> list[str]:
    return [
        str(config.name)
        for config in stream_configs(1)
        if any(matches(pattern, subject) for pattern in config.subjects or [])
    ]


@pytest.mark.parametrize("event", CATALOGUE, ids=lambda event: event.type)
def test_each_event_is_kept_by_its_stream_alone(event: type[Event]) -> None:
    assert keepers(event.subject("a model.")) == [event.stream]


def test_heartbeats_are_kept_by_nobody() -> None:
    assert keepers("predictor.alive") == []


def by_name(replicas: int) -> dict[str, StreamConfig]:
    return {str(config.name): config for config in stream_configs(replicas)}


def test_champions_are_kept_for_ever_and_commands_until_they_are_done() -> None:
    streams = by_name(1)
    assert streams.keys() == set(Stream)
    assert not streams[Stream.CHAMPIONS].max_age
    assert streams[Stream.LIFECYCLE].max_age == 30 * 24 * 3600
    for queue in (Stream.TRAINING, Stream.COMMANDS):
        assert streams[queue].retention == RetentionPolicy.WORK_QUEUE


def test_replicas_come_from_settings() -> None:
    assert {config.num_replicas for config in by_name(3).values()} == {3}
