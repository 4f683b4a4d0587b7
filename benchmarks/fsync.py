"""What it costs to have events on the disk before they are acknowledged: each choice of JetStream's `sync_interval`.

    python -m benchmarks.fsync [--seconds 4]

One server that keeps the only copy, and three that keep a copy each, all on this machine and its disk: three hosts
would sync at the same time, one disk does one after another. Events per second, published one by one and with 100 on
their way; the median and the 99th percentile of how long one waits for its acknowledgement.
"""

import argparse
import asyncio
import json
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.results import Report, Row, machine, write
from shared.bus import NatsBus
from shared.events import RunProgress
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.nodes import nats_nodes

SERVERS = (1, 3)
CHOICES = ("2m", "1s", "always")
IN_FLIGHT = 100
EVENT = RunProgress(request_id="00000000-0000-0000-0000-000000000000", step=1, of=3, message="reading the dataset")


async def acknowledged(bus: NatsBus, at_once: int, seconds: float) -> list[float]:
    """Publish for so long with so many events on their way; return how many seconds each waited."""
    waited: list[float] = []
    ends = time.perf_counter() + seconds

    async def publish() -> None:
        while (began := time.perf_counter()) < ends:
            await bus.publish(EVENT, "benchmark")
            waited.append(time.perf_counter() - began)

    await asyncio.gather(*(publish() for _ in range(at_once)))
    return waited


async def measure(url: str, servers: int, sync: str, seconds: float) -> Row:
    """Return the line of one choice."""
    async with NatsBus(BusSettings(nats_url=url), "benchmark") as bus:
        await declare_when_reachable(bus.js, servers)
        await acknowledged(bus, 1, seconds / 4)
        alone = np.array(await acknowledged(bus, 1, seconds))
        many = np.array(await acknowledged(bus, IN_FLIGHT, seconds))
    return {
        "servers": servers,
        "sync_interval": sync,
        "one_by_one_per_s": round(len(alone) / seconds),
        "p50_ms": round(float(np.median(alone)) * 1e3, 2),
        "p99_ms": round(float(np.percentile(alone, 99)) * 1e3, 2),
        f"{IN_FLIGHT}_in_flight_per_s": round(len(many) / seconds),
    }


def main() -> None:
    """Measure each choice, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    chosen = parser.parse_args()
    found = []
    for servers, sync in product(SERVERS, CHOICES):
        with tempfile.TemporaryDirectory(prefix="baton-bench-") as name, nats_nodes(Path(name), servers, sync) as nodes:
            found.append(asyncio.run(measure(nodes.url, servers, sync, chosen.seconds)))
        print(json.dumps(found[-1]), flush=True)
    write(Report(machine=machine(), fsync=found))


if __name__ == "__main__":
    main()
