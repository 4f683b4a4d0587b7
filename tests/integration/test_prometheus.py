"""Prometheus scrapes a running stack: every series that is asked for is there, and what goes wrong is told."""

import asyncio
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import psycopg2
import pytest

from shared.bus import NatsBus
from shared.events import TrainRequested
from shared.settings import BusSettings, libpq_url
from tests import bundles
from tests.integration.kit import Versions
from tests.integration.services import ROW, Services, services
from tests.prometheus import INSTALLED, SHIPPED, Prometheus, prometheus
from tests.servers import free_port, nats_server, wait_for

pytestmark = [INSTALLED, pytest.mark.timeout(420)]

AGO = timedelta(minutes=2)


class Watched:
    """A stack that Prometheus watches, with a bus of its own to take away, and a model of its own."""

    def __init__(self, folder: Path, database_url: str, tracking_uri: str) -> None:
        self.folder, self.database_url = folder, database_url
        self.versions = Versions(tracking_uri, f"model-{uuid.uuid4()}")
        self._port, self.bus_ends = free_port(), ExitStack()
        self.start_bus()

    @property
    def model(self) -> str:
        return self.versions.model

    def start_bus(self) -> None:
        self.nats_url = self.bus_ends.enter_context(nats_server(self.folder, self._port))

    def backdate(self) -> None:
        """Have the change that waits have waited for minutes."""
        with psycopg2.connect(libpq_url(self.database_url)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE baton.promotions SET committed_at = committed_at - %s WHERE model = %s AND published_at IS NULL"
                " RETURNING generation",
                (AGO, self.model),
            )
            assert cursor.rowcount == 1
        connection.close()


def expressions() -> dict[str, str]:
    """Return what the dashboards ask for by the panel's title, and each metric that an alert reads by its name."""
    asked = {}
    for file in sorted(SHIPPED.glob("**/*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$model", ".*").replace("$__rate_interval", "1m")
                asked[f"{panel['title']} {target['refId']}"] = expression
    rules = (SHIPPED / "alerts.yml").read_text()
    return asked | {name: name for name in re.findall(r"baton_\w+", rules)}


@pytest.fixture
def watched(tmp_path: Path, database_url: str, tracking_uri: str) -> Iterator[Watched]:
    found = Watched(tmp_path, database_url, tracking_uri)
    with found.bus_ends:
        yield found


async def test_a_running_stack_is_watched_and_what_goes_wrong_is_told(watched: Watched) -> None:
    everyone = (watched.nats_url, watched.database_url, watched.versions.registry.tracking_uri)
    with services(*everyone, watched.folder, BATON_MODELS=watched.model) as stack:
        targets = {
            "baton-predictor": stack.predictor.url,
            "baton-promoter": stack.promoter,
            "baton-trainer": stack.trainer,
        }
        with prometheus(watched.folder, {job: url.removeprefix("http://") for job, url in targets.items()}) as watcher:
            await wait("all targets to be up", lambda: set(watcher.health().values()) == {"up"})
            assert watcher.health().keys() == targets.keys()
            await work(watched, stack)
            await wait_for_every_series(watcher)
            await a_rejected_version_is_told(watched, watcher)
            await a_change_that_is_not_published_is_told(watched, watcher)
            await a_predictor_that_is_gone_is_told(stack, watcher)


async def work(watched: Watched, stack: Services) -> None:
    """Train a version, have it promoted, ask it something right and something wrong."""
    async with NatsBus(BusSettings(nats_url=watched.nats_url), "test") as bus:
        await bus.publish(TrainRequested(recipe="logistic-regression", dataset="heart-disease"), watched.model)
    serves = lambda: stack.predictor.predict(watched.model, ROW).status_code == 200  # noqa: E731
    await wait("the champion to be served", serves)
    assert stack.predictor.predict(watched.model, {"age": "old"}).status_code == 422


async def wait_for_every_series(watcher: Prometheus) -> None:
    for what, expression in expressions().items():
        await wait(f"{what}: {expression}", partial(lambda asked: watcher.query(asked) != [], expression))


async def a_rejected_version_is_told(watched: Watched, watcher: Prometheus) -> None:
    assert "BatonVersionRejected" not in watcher.firing()
    await promote(watched, await version(watched, 0.75, golden_share=0.25))
    await wait("the rejection to be told", lambda: "BatonVersionRejected" in watcher.firing())
    assert watcher.firing()["BatonVersionRejected"]["labels"]["check"] == "golden"
    await wait("it to be taken back", lambda: champion(watched) == "1")


async def a_change_that_is_not_published_is_told(watched: Watched, watcher: Prometheus) -> None:
    assert "BatonPromotionNotPublished" not in watcher.firing()
    another = await version(watched, 0.25)
    await asyncio.to_thread(watched.bus_ends.close)
    await promote(watched, another)
    await asyncio.to_thread(watched.backdate)
    await wait("the backlog to be told", lambda: "BatonPromotionNotPublished" in watcher.firing())
    told = watcher.firing()["BatonPromotionNotPublished"]
    assert (told["labels"]["model"], told["labels"]["severity"]) == (watched.model, "critical")
    await asyncio.to_thread(watched.start_bus)
    await wait("it to be over", lambda: "BatonPromotionNotPublished" not in watcher.firing())


async def a_predictor_that_is_gone_is_told(stack: Services, watcher: Prometheus) -> None:
    assert "BatonPredictorGone" not in watcher.firing()
    await asyncio.to_thread(stack.ends["predictor"].close)
    await wait("the predictor to be missed", lambda: "BatonPredictorGone" in watcher.firing())
    told = watcher.firing()["BatonPredictorGone"]
    assert told["annotations"]["summary"] == f"No predictor answers at {stack.predictor.url.removeprefix('http://')}"
    assert "BatonPromoterGone" not in watcher.firing()
    await wait("its workers to be lost", lambda: "BatonWorkersLost" in watcher.firing())


async def version(watched: Watched, share: float, **wrong: float) -> str:
    """Register a version with a tiny bundle."""
    async with NatsBus(BusSettings(nats_url=watched.nats_url), "test") as bus:
        bundle = await bus.put_bundle(*bundles.classifier(watched.folder, share, **wrong))
    return await asyncio.to_thread(watched.versions.plain, bundle)


def champion(watched: Watched) -> str:
    return str(watched.versions.client.get_model_version_by_alias(watched.model, "champion").version)


async def promote(watched: Watched, version: str) -> None:
    client = watched.versions.client
    await asyncio.to_thread(client.set_registered_model_alias, watched.model, "champion", version)


async def wait(what: str, check) -> None:
    await asyncio.to_thread(wait_for, what, check, 90)
