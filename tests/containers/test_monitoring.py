"""The profile `monitoring`: Prometheus finds every service of the stack, and each predictor, and loads the alerts.

Grafana is not part of it: there is no package of it to make an image of where the official one cannot be had.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.containers.stack import Stack
from tests.servers import wait_for

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def monitored(stack: Stack, prometheus_image: str) -> Iterator[Stack]:
    stack.up("--no-recreate", "--scale", "predictor=2", "prometheus", BATON_PROMETHEUS_IMAGE=prometheus_image)
    yield stack
    stack.compose("rm", "--stop", "--force", "prometheus")
    stack.scale(1)


def test_prometheus_scrapes_every_service(monitored: Stack) -> None:
    stack = monitored
    url = stack.url("prometheus", 9090)

    def api(path: str) -> Any:
        return httpx.get(f"{url}/api/v1/{path}", timeout=5, trust_env=False).json()["data"]

    def up() -> dict[str, list[str]]:
        jobs: dict[str, list[str]] = {}
        for target in api("targets")["activeTargets"]:
            jobs.setdefault(target["labels"]["job"], []).append(target["health"])
        return jobs

    expected = {"baton-predictor": ["up"] * 2, "baton-promoter": ["up"], "baton-trainer": ["up"]}
    wait_for("every target to be scraped", lambda: up() == expected, 120)
    assert {group["name"] for group in api("rules")["groups"]} >= {"baton-serving"}
    generation = api("query?query=baton_champion_generation")["result"]
    assert {one["metric"]["model"] for one in generation} == {"heart-disease"}
