"""A stack of small stand-ins; run as a module it is a process of its own, which tests can kill.

`base` is needed by `middle`, `middle` by `top`. Each notes in a journal when it starts and stops; `middle` has a
runaway, a process that has left its session as PostgreSQL's backends do.
"""

import asyncio
import sys
from pathlib import Path

from cli.stack import stop_on_signals
from compose.local.child import Child, environment
from compose.local.datadir import DataDir
from compose.local.lock import held
from compose.local.ports import HOST, choose
from compose.local.probes import answers
from compose.local.supervisor import Supervisor

STUB = """
import http.server, os, signal, subprocess, sys
name, port, journal, *traits = sys.argv[1:]
def note(what):
    with open(journal, "a") as file:
        file.write(f"{what} {name}\\n")
def stop(*_):
    note("stopped")
    os._exit(0)
class Fine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in traits else stop)
if "runaway" in traits:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
note("started")
http.server.HTTPServer(("127.0.0.1", int(port)), Fine).serve_forever()
"""


def journal(data: DataDir) -> Path:
    return data.root / "journal"


def stub(data: DataDir, name: str, *traits: str, after: tuple[str, ...] = (), stop_within_s: float = 10.0) -> Child:
    port = choose({name: 0})[name]

    async def check() -> str | None:
        return await answers(f"http://{HOST}:{port}/")

    return Child(
        name=name,
        argv=(sys.executable, "-c", STUB, name, str(port), str(journal(data)), *traits),
        env=environment(),
        check=check,
        after=after,
        ready_within_s=30,
        stop_within_s=stop_within_s,
    )


def stubs(data: DataDir) -> list[Child]:
    """Listed against their order, which only `after` gives."""
    return [stub(data, "top", after=("middle",)), stub(data, "middle", "runaway", after=("base",)), stub(data, "base")]


async def main(data: DataDir) -> None:
    stop = stop_on_signals()
    data.create()
    async with held(data), Supervisor(stubs(data), data, lambda _: None).running():
        print("ready", flush=True)
        try:
            await stop.wait()
        except asyncio.CancelledError:
            print("stopping", flush=True)


if __name__ == "__main__":
    asyncio.run(main(DataDir(Path(sys.argv[1]))))
