"""The predictor as processes on real NATS: swaps under load, rejections, lost consumers, killed workers, no NATS."""

import asyncio
import os
import signal
import socket
import statistics
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import httpx
import pytest
from nats.js.errors import NotFoundError

from services.predictor.__main__ import TUNABLES, with_large_pages
from shared.bus import NatsBus
from shared.errors import PromotionConflictError
from shared.event import Stream
from shared.events import BundleRef, ModelPromoted, ModelRejected, ModelServing, ModelWithdrawn
from shared.follow import last_sequence
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests import bundles
from tests.integration.models import Model
from tests.integration.predictors import WORKERS, Predictor, predictor_process
from tests.nodes import nats_nodes
from tests.processes import wait_until_ended
from tests.servers import free_port, nats_server, wait_for


@pytest.fixture(scope="module")
def predictor(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    with predictor_process(nats_url, tmp_path_factory.mktemp("predictor")) as process:
        yield process


@pytest.fixture
async def own_bus(tmp_path: Path) -> AsyncIterator[NatsBus]:
    """A bus of one test's own: nobody else's predictor answers there, nor does it meet the test's bundles."""
    with nats_server(tmp_path) as url:
        async with NatsBus(BusSettings(nats_url=url), "test") as opened:
            await declare_when_reachable(opened.js, 1)
            yield opened


def share_of(answer: httpx.Response) -> float:
    share: float = answer.json()["probabilities"]["1"]
    return share


async def asked(predictor: Predictor, model: Model) -> httpx.Response:
    return await asyncio.to_thread(predictor.predict, model.name)


async def test_a_promotion_serves_on_every_worker(predictor: Predictor, model: Model) -> None:
    assert (await asked(predictor, model)).status_code == 404
    served = await model.serve(0.25)
    assert served.keys() == {0, 1}
    answer = await asked(predictor, model)
    assert (answer.json()["model"], answer.json()["version"]) == (model.name, "1")
    assert share_of(answer) == pytest.approx(0.25)
    print("\nnot prefetched, delay_ms:", [round(said.delay_ms, 1) for said in served.values()])


async def test_withdrawn_and_prefetched_models_are_known(predictor: Predictor, model: Model) -> None:
    await model.finish(await model.bundle(0.25))
    await status_becomes(predictor, model, 503)
    await model.serve(0.25)
    await model.withdraw()
    await status_becomes(predictor, model, 503)
    assert "champion" in (await asked(predictor, model)).json()["detail"]
    await model.serve(0.3)


async def status_becomes(predictor: Predictor, model: Model, status: int) -> None:
    """Wait until whichever worker is asked answers with a status."""
    same = 0
    async with asyncio.timeout(20):
        while same < 20:
            same = same + 1 if (await asked(predictor, model)).status_code == status else 0


async def test_steady_requests_during_twenty_swaps_lose_nothing(predictor: Predictor, model: Model) -> None:
    shares = [0.1, 0.2, 0.3, 0.4]
    refs = [await model.bundle(share) for share in shares]
    await model.serve(0.5)
    for ref in refs:
        await model.finish(ref)
    await asyncio.to_thread(wait_for, "prefetches", lambda: _prefetched(predictor, model) >= WORKERS * len(refs), 20)
    done, seen, delays = asyncio.Event(), [], []

    async def ask(client: httpx.AsyncClient) -> None:
        while not done.is_set():
            answer = await client.post(f"/models/{model.name}/predict", json={"x": 1})
            assert answer.status_code == 200, answer.text
            seen.append(answer.json()["version"])
            assert share_of(answer) == pytest.approx(model.shares[seen[-1]]), "an answer is of the version it names"

    async with httpx.AsyncClient(base_url=predictor.url, timeout=10) as client, asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(ask(client))
        for swap in range(20):
            version = await model.promote(refs[swap % 4], shares[swap % 4])
            served = await model.said(ModelServing, version)
            assert all(said.prefetched for said in served.values())
            delays += [said.delay_ms for said in served.values()]
        done.set()
    print(
        f"\n20 swaps, {len(seen)} requests, 0 failed, {len(set(seen))} versions seen; prefetched delay_ms:"
        f" p50 {statistics.median(delays):.1f}, max {max(delays):.1f}"
    )
    assert len(set(seen)) > 2
    assert statistics.median(delays) < 50


def _prefetched(predictor: Predictor, model: Model) -> int:
    lines = predictor.log.read_text().splitlines()
    return sum("challenger prefetched" in line and model.name in line for line in lines)


async def test_a_bundle_with_other_answers_is_rejected_and_the_old_one_serves(
    predictor: Predictor, model: Model
) -> None:
    await model.serve(0.25)
    wrong = await model.bundle(0.75, golden_share=0.7)
    rejected = await model.said(ModelRejected, await model.promote(wrong, 0.75))
    assert {said.check for said in rejected.values()} == {"golden"}
    for _ in range(10):
        assert share_of(await asked(predictor, model)) == pytest.approx(0.25)
    await model.serve(0.3)


async def test_a_bundle_that_hangs_is_given_up_and_holds_up_nobody(own_bus: NatsBus, tmp_path: Path) -> None:
    model, other = Model(own_bus, tmp_path), Model(own_bus, tmp_path)
    with predictor_process(own_bus.settings.nats_url, tmp_path, BATON_VERIFY_DEADLINE_S="2") as predictor:
        await model.serve(0.25)
        over = asyncio.Event()
        asking = asyncio.create_task(ask_until(over, predictor, model))
        version = await model.promote(await own_bus.put_bundle(*bundles.hanging(tmp_path)), 0)
        await other.serve(0.5)
        rejected = await model.said(ModelRejected, version)
        over.set()
        assert await asking == {(200, "1")}, "the old champion answered every request"
        assert {(said.check, said.message) for said in rejected.values()} == {
            ("deadline", "the bundle was not verified within 2 s (BATON_VERIFY_DEADLINE_S)")
        }
        await model.serve(0.3)
        family = [predictor.process, *predictor.process.children(recursive=True)]
        predictor.process.terminate()
        await asyncio.to_thread(wait_until_ended, family)  # the threads that hang keep nobody from ending


async def ask_until(over: asyncio.Event, predictor: Predictor, model: Model) -> set[tuple[int, str]]:
    """Ask without pause; return each status with the version that answered."""
    seen = set()
    while not over.is_set():
        answer = await asked(predictor, model)
        seen.add((answer.status_code, answer.json().get("version")))
    return seen


async def test_a_malformed_promotion_neither_stops_nor_withdraws(
    predictor: Predictor, bus: NatsBus, model: Model
) -> None:
    await model.serve(0.25)
    withdrawal_like = ModelWithdrawn(**model._change() | {"generation": 99}).model_dump_json().encode()
    for body in (b"{", b"{}", withdrawal_like):
        await bus.js.publish(ModelPromoted.subject(model.name), body, stream=Stream.CHAMPIONS)
    await model.serve(0.3)
    assert share_of(await asked(predictor, model)) == pytest.approx(0.3)


async def test_a_consumer_that_the_server_forgot_is_made_anew(predictor: Predictor, bus: NatsBus, model: Model) -> None:
    await model.serve(0.25)
    before = {stream: await own_consumers(bus, stream) for stream in (Stream.CHAMPIONS, Stream.LIFECYCLE)}
    for stream, names in before.items():
        for name in names:
            with suppress(NotFoundError):  # that of a worker of an earlier test, which the server forgets by itself
                await bus.js.delete_consumer(stream, name)
    async with asyncio.timeout(20):
        for stream, names in before.items():
            while len(await own_consumers(bus, stream) - names) < WORKERS:
                await asyncio.sleep(0.1)
    await model.serve(0.75)
    assert share_of(await asked(predictor, model)) == pytest.approx(0.75)
    async with asyncio.timeout(20):  # they acknowledge what was overheard, too
        while any(info.num_pending or info.num_ack_pending for info in await bus.js.consumers_info(Stream.CHAMPIONS)):
            await asyncio.sleep(0.1)


async def own_consumers(bus: NatsBus, stream: Stream) -> set[str]:
    """Return the names of a stream's consumers that workers have for themselves."""
    return {info.name for info in await bus.js.consumers_info(stream) if not info.config.durable_name}


async def test_a_change_is_heard_before_the_stream_has_it(predictor: Predictor, bus: NatsBus, model: Model) -> None:
    await model.serve(0.25)
    ref, after = await model.bundle(0.75), await last_sequence(bus.js, Stream.LIFECYCLE)
    with pytest.raises(PromotionConflictError):
        await model.promote(ref, 0.75, expected_last=10**9)
    await model.said(ModelServing, "2", after)
    assert share_of(await asked(predictor, model)) == pytest.approx(0.75)
    _, stored = await bus.last(ModelPromoted, model.name) or (0, None)
    assert isinstance(stored, ModelPromoted)
    assert stored.version == "1"


def test_workers_are_told_to_ask_for_large_pages(predictor: Predictor) -> None:
    told = [worker.environ()[TUNABLES] for worker in predictor.workers()]
    assert told == [with_large_pages(os.environ.get(TUNABLES, ""))] * WORKERS


async def test_a_killed_worker_is_replaced_and_its_index_used_again(predictor: Predictor, model: Model) -> None:
    await model.serve(0.25)
    victim = predictor.workers()[0]
    started = monotonic()
    victim.kill()
    await asyncio.to_thread(victim.wait, 10)
    assert share_of(await asked(predictor, model)) == pytest.approx(0.25), "the port never refuses"
    await asyncio.to_thread(wait_for, "a new worker", predictor.all_ready)
    print(f"\nworker killed; replaced and ready after {monotonic() - started:.1f} s")
    assert (await model.serve(0.75)).keys() == {0, 1}


async def test_a_missing_bundle_keeps_nobody_from_being_ready(own_bus: NatsBus, tmp_path: Path) -> None:
    missing, served = Model(own_bus, tmp_path), Model(own_bus, tmp_path)
    await missing.promote(BundleRef(object="sha256-none", digest="sha256:none", size=1), 0)
    await served.promote(await served.bundle(0.25), 0.25)
    with predictor_process(own_bus.settings.nats_url, tmp_path) as predictor:
        assert share_of(await asked(predictor, served)) == pytest.approx(0.25)
        assert (await asked(predictor, missing)).status_code == 503
        answer = await asyncio.to_thread(httpx.get, f"{predictor.url}/ready")
        assert answer.status_code == 200
        assert answer.json()["bus"] == "connected"


async def test_a_stop_finishes_what_was_begun_and_leaves_nothing(own_bus: NatsBus, tmp_path: Path) -> None:
    model = Model(own_bus, tmp_path)
    await model.promote(await model.bundle(0.25), 0.25)
    with predictor_process(own_bus.settings.nats_url, tmp_path) as predictor:
        family = [predictor.process, *predictor.process.children(recursive=True)]
        answer = await asyncio.to_thread(_stop_while_asking, predictor, model)
        assert answer.startswith(b"HTTP/1.1 200 OK"), answer
        assert model.name.encode() in answer
        await asyncio.to_thread(wait_until_ended, family)


def _stop_while_asking(predictor: Predictor, model: Model) -> bytes:
    """Send half of a request, stop the predictor, send the rest, return the answer."""
    body = b'{"x": 1}'
    host, port = predictor.url.removeprefix("http://").split(":")
    head = f"POST /models/{model.name}/predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + body[:3])
        # Whichever worker took the half request: once it answers something newer, it has read that half.
        answered: set[int] = set()
        wait_for("each worker's answer", lambda: len(_note(answered, predictor)) == WORKERS)
        os.kill(predictor.process.pid, signal.SIGTERM)
        wait_for("the stop to begin", lambda: "Terminated child process" in predictor.log.read_text(), 10)
        connection.sendall(body[3:])
        return b"".join(iter(lambda: connection.recv(10_000), b""))


def _note(answered: set[int], predictor: Predictor) -> set[int]:
    answered.add(predictor.get("/health")["worker"])
    return answered


async def test_workers_end_with_the_process_that_started_them(own_bus: NatsBus, tmp_path: Path) -> None:
    port, url = free_port(), own_bus.settings.nats_url
    with predictor_process(url, tmp_path, port) as predictor:
        family = predictor.process.children(recursive=True)
        predictor.process.kill()
        await asyncio.to_thread(wait_until_ended, family)
    with predictor_process(url, tmp_path, port) as predictor:
        assert predictor.all_ready()


async def test_without_nats_a_restarted_predictor_serves_from_its_cache_and_follows_later(tmp_path: Path) -> None:
    port = free_port()
    url = f"nats://127.0.0.1:{port}"
    with nats_server(tmp_path, port):
        async with NatsBus(BusSettings(nats_url=url), "test") as bus:
            await declare_when_reachable(bus.js, 1)
            model, gone = Model(bus, tmp_path), Model(bus, tmp_path)
            await model.promote(await model.bundle(0.25), 0.25)
            await gone.promote(await gone.bundle(0.25), 0.25)
            await gone.withdraw()
            with predictor_process(url, tmp_path):
                await model.said(ModelServing, "1")
    started = monotonic()
    with predictor_process(url, tmp_path) as predictor:
        print(f"\nwithout NATS: all workers serve from the cache after {monotonic() - started:.1f} s")
        for _ in range(10):
            assert share_of(await asked(predictor, model)) == pytest.approx(0.25)
        assert (await asked(predictor, gone)).status_code == 503
        ready = await asyncio.to_thread(predictor.get, "/ready")
        assert ready == {"ready": True, "bus": "unreachable", "models": [model.name]}
        for share in (0.75, 0.5):  # when NATS comes at last, and when it comes back
            with nats_server(tmp_path, port):
                async with NatsBus(BusSettings(nats_url=url), "test") as bus:
                    model._bus = bus
                    after = await last_sequence(bus.js, Stream.LIFECYCLE)
                    version = await model.promote(await model.bundle(share), share)
                    await model.said(ModelServing, version, after)
            assert share_of(await asked(predictor, model)) == pytest.approx(share)
        await asyncio.to_thread(
            wait_for, "the bus to be missed", lambda: predictor.get("/ready")["bus"] == "unreachable", 10
        )
    assert "Traceback" not in predictor.log.read_text()


async def test_a_password_that_nats_takes_no_more_does_not_stop_who_serves_from_the_cache(tmp_path: Path) -> None:
    (bus_folder := tmp_path / "bus").mkdir()
    with nats_nodes(bus_folder, 1) as nodes:
        async with NatsBus(BusSettings(nats_url=nodes.url), "test") as bus:
            await declare_when_reachable(bus.js, 1)
            model = Model(bus, tmp_path)
            await model.promote(await model.bundle(0.25), 0.25)
            with predictor_process(nodes.url, tmp_path):
                await model.said(ModelServing, "1")
        stranger = nodes.url.replace(nodes.password, "changed")
        with predictor_process(stranger, tmp_path) as predictor:
            assert share_of(await asked(predictor, model)) == pytest.approx(0.25)
            assert (await asyncio.to_thread(predictor.get, "/ready"))["bus"] == "unreachable"
            workers = {worker.pid for worker in predictor.workers()}
            refusals = lambda: predictor.log.read_text().count("does not know this user or password")  # noqa: E731
            await asyncio.to_thread(wait_for, "both workers to ask again", lambda: refusals() >= 2 * WORKERS, 60)
            assert {worker.pid for worker in predictor.workers()} == workers
