"""NATS servers, one or a cluster, on loopback with the configuration that ships; each ends by its own handle."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compose.entrypoint import environment
from compose.make_secrets import make
from tests.servers import answers, free_port, wait_for

SHIPPED = Path(__file__).parents[1] / "compose" / "nats"
TESTER = "tester"  # who may do everything, in tests
ALONE, CLUSTER, CLUSTER_TLS = "nats.conf", "cluster.conf", "cluster-tls.conf"
HEALTHY_WITHIN_S = 90.0


@dataclass
class Node:
    """One server: its ports, its storage, its present process."""

    name: str
    folder: Path
    configuration: str = CLUSTER
    port: int = field(default_factory=free_port)
    monitor: int = field(default_factory=free_port)
    routes: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, sync: str) -> None:
        """Start it, with nothing but the ports and the storage other than on a host of its own."""
        binary = str(Path(sys.executable).parent / "nats-server")
        options = ["-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor)]
        command = [binary, "-c", str(self.folder / "etc/nats" / self.configuration), *options]
        own = {"BATON_NODE": self.name, "BATON_NATS_SYNC": f'"{sync}"'}
        own |= {"STORAGE": str(self.folder / self.name), "ROUTES": str(self.routes)}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **own}, start_new_session=True
            )

    def is_healthy(self) -> bool:
        """Tell whether it has caught up; fail if it has ended, for it never will then."""
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended: see {self.folder}/{self.name}.log"
        return answers(f"http://127.0.0.1:{self.monitor}/healthz")()

    def end(self, number: signal.Signals) -> None:
        """End it, and wait until it has ended."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)


@dataclass
class Nodes:
    """The servers of a cluster, and how each user of the bus reaches them."""

    folder: Path
    members: list[Node]
    sync: str
    password: str

    @property
    def url(self) -> str:
        """Return where the bus is, for who may do everything."""
        return ",".join(self.urls)

    @property
    def urls(self) -> list[str]:
        """Return where each server is, for who may do everything."""
        return [f"nats://{TESTER}:{self.password}@127.0.0.1:{node.port}" for node in self.members]

    def environment(self, user: str) -> dict[str, str]:
        """Return how a service reaches the bus as a user of its own, as its container is told."""
        told = environment(self.folder / "secrets" / user, self.folder / "no configuration", {})
        return {
            **{name: _placed(value, self.members) for name, value in told.items() if name.startswith("BATON_NATS")},
            "BATON_REPLICAS": str(len(self.members)),
            "BATON_DECLARE_STREAMS": str(user == "promoter").lower(),
        }

    def start(self, node: Node) -> None:
        """Start a server."""
        node.start(self.sync)

    def wait_until_healthy(self) -> None:
        """Wait until every server has caught up with all that it holds copies of."""
        for node in self.members:
            wait_for(f"{node.name} (see {self.folder}/{node.name}.log)", node.is_healthy, HEALTHY_WITHIN_S)


@contextmanager
def nats_nodes(folder: Path, count: int = 3, sync: str = "2m", tls: Path | None = None) -> Iterator[Nodes]:
    """Run NATS servers as one cluster (by TLS with the certificates in `tls`), or one alone, until the block ends."""
    configuration = ALONE if count == 1 else CLUSTER_TLS if tls else CLUSTER
    members = [Node(f"node-{number}", folder, configuration) for number in range(1, count + 1)]
    nodes = Nodes(folder, members, sync, secrets.token_urlsafe(16))
    _lay_out(nodes)
    if tls:
        for name in ("tls.conf", CLUSTER_TLS):
            _change(folder / "etc/nats" / name, "/run/tls", str(tls))
    try:
        for node in members:
            nodes.start(node)
        nodes.wait_until_healthy()
        yield nodes
    finally:
        for node in members:
            if node.process is not None and node.process.poll() is None:
                node.end(signal.SIGKILL)


def _lay_out(nodes: Nodes) -> None:
    """Lay configuration and secrets out as a container has them, with a user more, who may do everything."""
    folder, mounted = nodes.folder, nodes.folder / "run/baton"
    make(folder / "secrets", [node.name for node in nodes.members])
    shutil.copytree(SHIPPED, folder / "etc/nats")
    shutil.copytree(folder / "secrets/nats", mounted)
    _change(folder / "etc/nats/nats.conf", "store_dir: /jetstream", "store_dir: $STORAGE")
    # Not by an option of the command line, which would have the server forget the secret.
    _change(folder / "etc/nats/member.conf", "port: 6222", 'host: "127.0.0.1", port: $ROUTES')
    tester = f'users = [ {{user: {TESTER}, password: "{nodes.password}"}}'
    _change(folder / "etc/nats/permissions.conf", "users = [", tester)
    routes = mounted / "routes.conf"
    routes.chmod(0o644)
    routes.write_text(_placed(routes.read_text(), nodes.members))


def _change(file: Path, text: str, into: str) -> None:
    before = file.read_text()
    assert text in before
    file.write_text(before.replace(text, into))


def _placed(text: str, members: Sequence[Node]) -> str:
    """Put the ports on loopback where hosts are named."""
    for node in members:
        text = text.replace(f"@{node.name}:4222", f"@127.0.0.1:{node.port}")
        text = text.replace(f"@{node.name}:6222", f"@127.0.0.1:{node.routes}")
    return text
