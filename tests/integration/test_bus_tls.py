"""TLS between Baton and a real nats-server, with certificates made here."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faststream.nats import NatsMessage

from shared.bus import NatsBus
from shared.errors import SettingsError, UnreachableError, UntrustedError
from shared.events import PromotionRequested, RunStarted
from shared.service import make_broker
from shared.settings import BusSettings, ServiceSettings
from shared.streams import declare_when_reachable
from tests.certificates import Authority
from tests.integration.predictors import predictor_process
from tests.integration.shipped_nats import settings_of, shipped_nats
from tests.servers import answers, free_port, running, wait_for

HERE = "127.0.0.1"
STARTED = RunStarted(request_id="r", attempt=1, recipe="r", dataset="d")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@contextmanager
def encrypted_server(folder: Path, certificate: tuple[Path, Path], *more: str) -> Iterator[str]:
    port, monitor, configuration = free_port(), free_port(), folder / "nats.conf"
    files = [f'cert_file: "{certificate[0]}"', f'key_file: "{certificate[1]}"', *more]
    configuration.write_text(
        f"tls {{\n{chr(10).join(files)}\n}}\nauthorization: {{users: [{{user: client, password: secret}}]}}\n"
    )
    binary = str(Path(sys.executable).parent / "nats-server")
    address = ["-a", HERE, "-p", str(port), "-m", str(monitor), "-js", "-sd", str(folder / "js")]
    with running([binary, "-c", str(configuration), *address], folder / "nats.log"):
        wait_for("nats-server", answers(f"http://{HERE}:{monitor}/healthz"))
        yield f"tls://client:secret@{HERE}:{port}"


async def exchange(settings: ServiceSettings) -> None:
    """Publish an event over one connection, and hear it over a service's own."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    async with NatsBus(settings, "test") as bus:
        await declare_when_reachable(bus.js, 1)
        broker = make_broker(settings, "test")

        @broker.subscriber("run.started.m")
        async def hear(message: NatsMessage) -> None:
            heard.put_nowait(message.body)

        async with broker:
            await broker.start()
            async with asyncio.timeout(30):
                while heard.empty():  # until the server knows of the subscription
                    await bus.publish(STARTED, "m")
                    await asyncio.sleep(0.05)
            body = heard.get_nowait()
    assert RunStarted.parse(body) == STARTED


async def test_events_go_over_tls(authority: Authority, tmp_path: Path) -> None:
    with encrypted_server(tmp_path, authority.signed(HERE)) as url:
        await exchange(ServiceSettings(nats_url=url, nats_tls_ca=authority.ca))
        await exchange(ServiceSettings(nats_url=url.replace("tls://", "nats://"), nats_tls_ca=authority.ca))


async def test_nothing_is_said_before_tls(authority: Authority, tmp_path: Path) -> None:
    with encrypted_server(tmp_path, authority.signed(HERE), "handshake_first: true") as url:
        await exchange(ServiceSettings(nats_url=url, nats_tls_ca=authority.ca, nats_tls_first=True))


async def test_the_command_line_says_nothing_of_its_own_about_tls(authority: Authority, tmp_path: Path) -> None:
    with encrypted_server(tmp_path, authority.signed(HERE)) as url:
        settings = BusSettings(nats_url=url, nats_tls_ca=authority.ca)
        async with NatsBus(settings, "test") as bus:
            await declare_when_reachable(bus.js, 1)
        told = {**os.environ, "BATON_NATS_URL": url, "BATON_NATS_TLS_CA": str(authority.ca)}
        command = [sys.executable, "-m", "cli", "train", "heart-disease"]
        asked = await asyncio.to_thread(subprocess.run, command, env=told, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    assert "ssl" not in asked.stderr


async def refused(**settings: Any) -> str:
    """Return why NATS is not trusted; a busy machine may need more than one attempt to hear of it."""
    for _ in range(10):
        bus = NatsBus(BusSettings(**settings), "test")
        with pytest.raises(UnreachableError) as error:
            await bus.open(2.0)
        await bus.close()
        assert "secret" not in str(error.value)
        if isinstance(error.value, UntrustedError):
            assert "is not trusted" in str(error.value)
            return str(error.value)
    pytest.fail(f"nobody said anything of trust: {error.value}")


async def test_a_server_that_is_not_trusted_is_named_with_the_reason(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "another")
    with encrypted_server(tmp_path, authority.signed(HERE)) as url:
        assert "unable to get local issuer certificate" in await refused(nats_url=url, nats_tls_ca=other.ca)
        assert "unable to get local issuer certificate" in await refused(nats_url=url)
        elsewhere = url.replace(HERE, "localhost")
        assert "Hostname mismatch" in await refused(nats_url=elsewhere, nats_tls_ca=authority.ca)


async def test_a_server_that_asks_for_certificates(authority: Authority, tmp_path: Path) -> None:
    asks = ("verify: true", f'ca_file: "{authority.ca}"')
    certificate, key = authority.signed("client")
    with encrypted_server(tmp_path, authority.signed(HERE), *asks) as url:
        mine: dict[str, Any] = {"nats_tls_cert": certificate, "nats_tls_key": key}
        await exchange(ServiceSettings(nats_url=url, nats_tls_ca=authority.ca, **mine))
        assert "certificate required" in (await refused(nats_url=url, nats_tls_ca=authority.ca)).lower()


async def test_a_password_is_not_told_to_a_server_that_offers_no_tls(authority: Authority) -> None:
    said = b""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        writer.write(
            b"INFO " + json.dumps({"server_id": "x", "max_payload": 1, "auth_required": True}).encode() + b"\r\n"
        )
        said += await reader.read(1000)
        writer.close()

    async with await asyncio.start_server(plain, HERE, 0) as server:
        url = f"nats://client:secret@{HERE}:{server.sockets[0].getsockname()[1]}"
        assert "it offers no TLS" in await refused(nats_url=url, nats_tls_ca=authority.ca)
    assert said == b""


@pytest.mark.parametrize("name", ["nats_tls_ca", "nats_tls_cert"])
def test_a_file_that_is_none_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").write_text("")
    for path in (tmp_path / "empty", tmp_path / "none"):
        given: dict[str, Any] = {name: path}
        with pytest.raises(SettingsError, match=rf"BATON_{name.upper()}.*{path.name} is no"):
            NatsBus(BusSettings(**given), "test")


async def test_a_predictor_follows_over_tls(authority: Authority, tmp_path: Path) -> None:
    with encrypted_server(tmp_path, authority.signed(HERE)) as url:
        settings = BusSettings(nats_url=url, nats_tls_ca=authority.ca)
        async with NatsBus(settings, "test") as bus:
            await declare_when_reachable(bus.js, 1)
            await bus.publish(PromotionRequested(actor="ann"), "m")
        with predictor_process(url, tmp_path, BATON_NATS_TLS_CA=str(authority.ca)) as predictor:
            assert predictor.get("/ready") == {"ready": True, "bus": "connected", "models": []}


async def test_the_shipped_configuration_speaks_tls_only(authority: Authority, tmp_path: Path) -> None:
    with shipped_nats(tmp_path, "tls.conf", authority.signed(HERE)) as secrets:
        plain = settings_of(secrets, "promoter")
        for first in (True, False):
            encrypted = plain.model_copy(update={"nats_tls_ca": authority.ca, "nats_tls_first": first})
            async with NatsBus(encrypted, "promoter") as bus:
                await declare_when_reachable(bus.js, 1)
        assert "unable to get local issuer certificate" in await refused(nats_url=plain.nats_url)
