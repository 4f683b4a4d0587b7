"""One trace, and log lines that name it, from a train request over the promotion to the first answer of each worker."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.bus import NatsBus
from shared.events import TrainRequested
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.integration.predictors import WORKERS
from tests.integration.services import ROW, Services, services
from tests.otlp import Receiver, Span, receiving
from tests.servers import wait_for

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Story:
    """A request that was followed to its end: what a collector received, and what the services wrote."""

    model: str
    request: uuid.UUID
    receiver: Receiver
    logs: dict[str, Path]

    def spans(self, name: str) -> list[Span]:
        return self.receiver.named(self.request.hex, name)

    def lines(self, service: str) -> list[dict[str, Any]]:
        """Return the lines of a service about the model."""
        written = [json.loads(line) for line in self.logs[service].read_text().splitlines() if line.startswith("{")]
        return [line for line in written if line.get("model") == self.model]

    def answered_by_each(self, stack: Services) -> bool:
        """Ask, each time on a connection of its own, until every worker was seen to answer."""
        assert stack.predictor.predict(self.model, ROW).status_code == 200
        return len(self.spans("first prediction")) == WORKERS


@pytest.fixture(scope="module")
def story(
    nats_url: str, database_url: str, tracking_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    with receiving() as receiver:
        told = {"BATON_OTLP_ENDPOINT": receiver.url, "BATON_LOG_JSON": "true"}
        with services(nats_url, database_url, tracking_uri, folder, **told) as stack:
            story = Story(f"model-{uuid.uuid4()}", uuid.uuid4(), receiver, stack.logs)
            asyncio.run(ask(nats_url, story))
            waits: dict[str, Callable[[], bool]] = {
                "each worker's swap": lambda: len(story.spans("swap")) == WORKERS,
                "each worker's first answer": lambda: story.answered_by_each(stack),
                "the trainer's and the relay's span": lambda: bool(story.spans("train") and story.spans("publish")),
            }
            for what, check in waits.items():
                wait_for(what, check, 90)
        yield story


async def ask(nats_url: str, story: Story) -> None:
    async with NatsBus(BusSettings(nats_url=nats_url), "test") as bus:
        await declare_when_reachable(bus.js, 1)
        asked = TrainRequested(recipe="logistic-regression", dataset="heart-disease", request_id=str(story.request))
        await bus.publish(asked, story.model, event_id=str(story.request))


def test_a_train_request_is_one_trace_up_to_the_first_answer_of_each_worker(story: Story) -> None:
    once = {name: story.spans(name) for name in ("train", "decide", "promote", "publish")}
    assert {name: len(found) for name, found in once.items()} == dict.fromkeys(once, 1)
    swaps, firsts = story.spans("swap"), story.spans("first prediction")
    assert len({span.instance for span in swaps}) == WORKERS
    assert {span.instance for span in swaps} == {span.instance for span in firsts}
    about = {span.attributes["baton.model"] for span in story.receiver.spans if span.trace == story.request.hex}
    assert about == {story.model}
    by = {"train": "trainer", "decide": "promoter", "promote": "promoter", "publish": "promoter"}
    assert {name: found[0].service for name, found in once.items()} == {name: f"baton-{by[name]}" for name in by}
    assert {span.service for span in (*swaps, *firsts)} == {"baton-predictor"}
    assert once["decide"][0].attributes["baton.verdict"] == "promoted"
    order = [once["train"][0].started, once["decide"][0].started, once["promote"][0].started, swaps[0].started]
    assert order == sorted(order)
    assert min(span.started for span in firsts) > once["promote"][0].started


@pytest.mark.parametrize(
    ("service", "event", "generation", "times"),
    [
        ("trainer", "finished", None, 1),
        ("promoter", "decided", 0, 1),
        ("promoter", "model.promoted", 1, 1),
        ("predictor", "challenger prefetched", None, WORKERS),
        ("predictor", "serving", 1, WORKERS),
    ],
)
def test_a_line_says_which_request_model_version_generation_and_trace_it_is_about(
    story: Story, service: str, event: str, generation: int | None, times: int
) -> None:
    found = [line for line in story.lines(service) if line["event"] == event]
    assert len(found) == times
    for line in found:
        assert (line["service"], line["version"], line.get("generation")) == (service, "1", generation)
        assert (line["request_id"], line["trace_id"]) == (str(story.request), story.request.hex)


@pytest.mark.parametrize("service", ["trainer", "promoter", "predictor"])
def test_no_line_about_the_model_leaves_out_the_request(story: Story, service: str) -> None:
    assert [line for line in story.lines(service) if line.get("request_id") != str(story.request)] == []
