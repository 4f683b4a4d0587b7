"""Three hosts, as three projects of compose/cluster.yaml that share a network of one engine; the bus speaks TLS.

What it cannot show: that hosts reach each other by their addresses. Here they do by the names of their NATS servers.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from compose.make_secrets import make
from scripts.compose_sizes import docker
from tests.certificates import Authority
from tests.containers.conftest import ROOT
from tests.containers.stack import Stack, inside, wait_until_healthy
from tests.servers import wait_for

pytestmark = pytest.mark.timeout(3600)
PROFILES = ("nats,promoter,trainer", "nats,promoter,predictor", "nats,predictor")
NODES = tuple(f"node-{number}" for number in range(1, 1 + len(PROFILES)))
WIRE = "networks: {{outside: {{name: {wire}, external: true}}}}\n"
NODE = "services: {nats: {networks: {outside: {aliases: ['${BATON_NODE}']}}}}\n"
STREAMS = "http://127.0.0.1:8222/jsz?streams=true"


@pytest.fixture(scope="module")
def wire(engine: None) -> Iterator[str]:
    """The network between the hosts."""
    name = f"baton-wire-{os.getpid()}"
    docker("network", "create", name)
    yield name
    docker("network", "rm", name)


@pytest.fixture(scope="module")
def registry(wire: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL and MLflow, which are somewhere else."""
    clone = tmp_path_factory.mktemp("hosts") / "baton"
    with Stack.cloned(ROOT, clone, "registry", {}, "compose/registry.yaml", "wire.yaml") as stack:
        (clone / "wire.yaml").write_text(WIRE.format(wire=wire))
        (clone / "node.yaml").write_text(NODE)
        stack.up("postgres", "mlflow")
        yield stack


@pytest.fixture(scope="module")
def hosts(registry: Stack, proxy_image: str) -> Iterator[list[Stack]]:
    folder = registry.clone
    make_secrets(registry, folder / "baton-secrets")
    make_certificates(folder)
    files = ("compose/cluster-tls.yaml", "wire.yaml", "node.yaml")
    own = dataclasses.replace(registry, files=files, first="compose/cluster.yaml")
    found = []
    with ExitStack() as running:
        for number, (node, profiles) in enumerate(zip(NODES, PROFILES, strict=True), 2):
            settings = {
                "COMPOSE_PROFILES": profiles,
                "BATON_NODE": node,
                "BATON_BIND": f"127.0.0.{number}",
                "BATON_TLS": str(folder / node),
                "BATON_MLFLOW_URL": "http://mlflow:5000",
                "BATON_PROXY_IMAGE": proxy_image,
            }
            host = dataclasses.replace(own, project=f"baton-{node}-{os.getpid()}", settings=settings)
            running.enter_context(host.taken_down())
            host.compose("up", "--detach", "--build")
            found.append(host)
        for host in found:
            host.up()
        yield found


def make_secrets(registry: Stack, folder: Path) -> None:
    """Do what docs/more-machines.md says."""
    make(folder, NODES)
    database = registry.compose("run", "--rm", "-T", "secrets", "cat", "/secrets/promoter/BATON_DATABASE_URL")
    for user in ("promoter", "backup", "trainer"):
        for file in (folder / user).glob("MLFLOW_TRACKING_*"):
            file.unlink()
    for user in ("promoter", "backup"):
        address = folder / user / "BATON_DATABASE_URL"
        address.unlink()
        address.write_text(database)


def make_certificates(folder: Path) -> None:
    authority = Authority(folder, "authority")
    for node in NODES:
        (folder / node).mkdir()
        for made, name in zip(authority.signed(node), ("nats.crt", "nats.key"), strict=True):
            made.rename(folder / node / name)
        (folder / node / "ca.crt").write_bytes(authority.ca.read_bytes())


def serves(host: Stack, model: str, version: str) -> Callable[[], bool]:
    """Return a check whether a host's predictors answer by a version."""

    def check() -> bool:
        answer = host.predict(f"/models/{model}/predict")
        return answer.status_code == 200 and answer.json()["version"] == version

    return check


def trained_and_served(hosts: list[Stack], model: str) -> None:
    """Have a model trained by the first host, and wait until it is served wherever there are predictors."""
    said = hosts[0].baton("train", "heart-disease", "--model", model, "--wait")
    assert said["decided"]["verdict"] == "promoted"
    for host in hosts:
        if "predictor" in host.settings["COMPOSE_PROFILES"]:
            check = serves(host, model, said["finished"]["version"])
            wait_for(f"{model} to be served on {host.project}", check, 60)


def copies(host: Stack) -> dict[str, int]:
    """Return on how many servers each stream is, as the host's own says."""
    (nats,) = host.containers("nats")
    told: dict[str, Any] = json.loads(inside(nats, "wget", "-q", "-O", "-", STREAMS).stdout)
    streams = [stream for account in told["account_details"] for stream in account["stream_detail"]]
    return {stream["name"]: 1 + len(stream["cluster"].get("replicas", [])) for stream in streams}


def test_what_is_trained_on_one_host_is_served_on_the_others(hosts: list[Stack]) -> None:
    trained_and_served(hosts, "heart-disease")
    for host in hosts:
        found = copies(host)
        assert found.keys() >= {"TRAINING", "COMMANDS", "LIFECYCLE", "CHAMPIONS", "OBJ_MODELS", "KV_REQUESTS"}
        assert set(found.values()) == {len(NODES)}


@pytest.mark.parametrize("number", range(len(NODES)), ids=NODES)
def test_each_server_in_turn_may_die(hosts: list[Stack], number: int) -> None:
    (nats,) = hosts[number].containers("nats")
    docker("kill", nats)
    trained_and_served(hosts, f"without-{NODES[number]}")
    docker("start", nats)
    wait_until_healthy(nats)
