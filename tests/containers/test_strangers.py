"""Published beyond loopback, with TLS on the bus: strangers get nothing, and everything works, a backup too."""

import json
import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.compose_sizes import docker
from tests.certificates import Authority
from tests.containers.conftest import ROOT
from tests.containers.stack import Stack, logs
from tests.otlp import Receiver, receiving
from tests.servers import wait_for

pytestmark = pytest.mark.timeout(3600)
GATEWAY = (
    "{{(index .IPAM.Config 0).Gateway}}"  # an address of this machine that is no loopback, and nobody else reaches
)


@pytest.fixture(scope="module")
def address(engine: None) -> Iterator[str]:
    """Yield that of a network of its own: a fresh engine does not say its default network's."""
    name = f"baton-strangers-{os.getpid()}"
    docker("network", "create", name)
    yield docker("network", "inspect", "--format", GATEWAY, name)
    docker("network", "rm", name)


@pytest.fixture(scope="module")
def collector(address: str) -> Iterator[Receiver]:
    with receiving(address) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def guarded(
    proxy_image: str, address: str, collector: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("guarded")
    certificates = folder / "tls"
    certificates.mkdir()
    authority = Authority(certificates, "ca")
    authority.signed("nats")
    authority.ca.rename(certificates / "ca.crt")
    settings = {
        "BATON_PROXY_IMAGE": proxy_image,
        "BATON_BIND": address,
        "BATON_OTLP_COLLECTOR": httpx.URL(collector.url).netloc.decode(),
        "BATON_TLS": str(certificates),
    }
    files = ("compose/tls.yaml", "compose/tracing.yaml")
    with Stack.cloned(ROOT, folder / "baton", "guarded", settings, *files) as stack:
        config = stack.clone / "baton-config"
        (config / "settings.env").write_text("BATON_DEFAULT_MODEL=heart-disease\nBATON_ACCESS_LOG=true\n")
        stack.up()
        stack.baton("train", "heart-disease", "--wait")
        yield stack


def secret(stack: Stack, service: str, path: str) -> str:
    return stack.compose("exec", "-T", service, "cat", path)


def test_predictors_ask_for_a_key_and_another_one_is_let_in_without_a_restart(guarded: Stack) -> None:
    assert guarded.predict().status_code == 401
    assert guarded.predict(key=secret(guarded, "trainer", "/run/client/BATON_API_KEY")).status_code == 200
    made = guarded.baton("key", "ann")
    assert guarded.predict(key=made["key"]).status_code == 401
    append = ("run", "--rm", "-T", "secrets", "sh", "-c", "cat >> /secrets/predictor/keys")
    joined = guarded.piped(append, input=f"{made['line']}\n".encode(), stdout=subprocess.PIPE)
    assert joined.returncode == 0, joined.stderr
    wait_for("the key to count", lambda: guarded.predict(key=made["key"]).status_code == 200, 60)


def test_settings_of_one_s_own_reach_the_services(guarded: Stack) -> None:
    assert guarded.predict(key=secret(guarded, "trainer", "/run/client/BATON_API_KEY")).status_code == 200
    (predictor,) = guarded.containers("predictor")
    assert '"client"' in logs(predictor)  # the access log names the key


def test_the_promoter_asks_for_a_token_and_mlflow_for_a_password(guarded: Stack) -> None:
    with httpx.Client(timeout=30, trust_env=False) as client:
        status = guarded.url("promoter", 8001) + "/status"
        assert client.get(status).status_code == 401
        token = secret(guarded, "trainer", "/run/client/BATON_TOKEN")
        assert client.get(status, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        search = guarded.url("mlflow", 5000) + "/api/2.0/mlflow/experiments/search"
        password = secret(guarded, "mlflow", "/run/baton/MLFLOW_AUTH_ADMIN_PASSWORD")
        for account, expected in ((("eve", "guessed"), 401), (("admin", password), 200)):
            answer = client.post(search, json={"max_results": 1}, auth=account)
            assert answer.status_code == expected, answer.text


def test_the_bus_speaks_tls_only(guarded: Stack) -> None:
    host, _, port = guarded.compose("port", "nats", "4222").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        greeting = connection.makefile("rb").readline()
    assert json.loads(greeting.removeprefix(b"INFO "))["tls_required"]


def test_traces_reach_the_collector_also_from_predictors_which_reach_nothing_else(
    guarded: Stack, collector: Receiver
) -> None:
    assert guarded.predict(key=secret(guarded, "trainer", "/run/client/BATON_API_KEY")).status_code == 200

    def names() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for span in list(collector.spans):
            found.setdefault(span.service, set()).add(span.name)
        return found

    expected = {
        "baton-trainer": {"train"},
        "baton-promoter": {"decide", "promote", "publish"},
        "baton-predictor": {"swap", "first prediction"},
    }
    wait_for("every service's spans", lambda: names() == expected, 60)
    assert len({span.trace for span in collector.spans}) == 1


def test_a_backup_is_taken(guarded: Stack, tmp_path: Path) -> None:
    archive = tmp_path / "baton.tar"
    with archive.open("wb") as file:
        taken = guarded.piped(("run", "--rm", "-T", "backup", "backup", "-"), stdout=file)
    assert taken.returncode == 0, taken.stderr[-3000:]
    with tarfile.open(archive) as tar:
        contents = tar.extractfile("contents.json")
        assert contents is not None
        found = json.load(contents)
    assert found["champions"] == {"heart-disease": "1"}
    assert found["counts"]["artifacts"] > 0
    assert found["counts"]["bundles"] == 1
