"""One stack for all tests of containers: cloned, built, brought up, and taken down with its volumes."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts.compose_sizes import Start, watched
from tests.containers.stack import Stack

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Brought:
    """A stack that was brought up: how long that took, and when each container started and was ready."""

    stack: Stack
    seconds: float
    starts: dict[str, Start]


def succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    if not (succeeds("docker", "info") and succeeds("docker", "compose", "version")):
        pytest.exit("the tests of containers need a Docker engine that answers `docker info`, and Compose v2", 1)


@pytest.fixture(scope="session")
def proxy_image(engine: None) -> str:
    return official_or_debian_s("haproxy", "BATON_PROXY_IMAGE", "haproxy:3.0-alpine")


@pytest.fixture(scope="session")
def prometheus_image(engine: None) -> str:
    return official_or_debian_s("prometheus", "BATON_PROMETHEUS_IMAGE", "prom/prometheus:v3.5.0")


def official_or_debian_s(name: str, variable: str, official: str) -> str:
    """Return the image that the environment names, else the official one, else one made of Debian's package."""
    if chosen := os.environ.get(variable):
        return chosen
    if succeeds("docker", "image", "inspect", official) or succeeds("docker", "pull", official):
        return official
    tag = f"baton-test-{name}"
    with (Path(__file__).parent / f"{name}.Dockerfile").open() as file:
        subprocess.run(["docker", "build", "--quiet", "--tag", tag, "-"], stdin=file, check=True, capture_output=True)
    return tag


@pytest.fixture(scope="session")
def brought(proxy_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brought]:
    """Bring up the stack of a fresh clone by the one command that users type."""
    clone = tmp_path_factory.mktemp("fresh") / "baton"
    with Stack.cloned(ROOT, clone, "test", {"BATON_PROXY_IMAGE": proxy_image}) as stack:
        with watched(stack.project) as starts:
            began = time.monotonic()
            stack.up()
            seconds = time.monotonic() - began
        yield Brought(stack, seconds, starts)


@pytest.fixture(scope="session")
def champion(brought: Brought) -> dict[str, Any]:
    """Have a first champion trained; return what the command line says of it."""
    began = time.monotonic()
    said: dict[str, Any] = brought.stack.baton("train", "heart-disease", "--wait")
    print(f"\nup and healthy after {brought.seconds:.1f} s, a champion after {time.monotonic() - began:.1f} s more")
    return said


@pytest.fixture
def stack(brought: Brought, champion: dict[str, Any]) -> Stack:
    """Return the stack, with a champion of `heart-disease`."""
    return brought.stack


@pytest.fixture
def version(champion: dict[str, Any]) -> str:
    return str(champion["finished"]["version"])
