"""A stack of containers under a project name of its own, brought up from a fresh clone."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from cli.demo.load import Load
from scripts.compose_sizes import LABEL, PORTS, docker
from tests.servers import wait_for

ROW = {
    "age": 63, "sex": 1, "cp": 3, "trestbps": 145, "chol": 233, "fbs": 1, "restecg": 0, "thalach": 150, "exang": 0,
    "oldpeak": 2.3, "slope": 0, "ca": 0, "thal": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """A clone's stack: its project, and what its compose file is told by the environment."""

    clone: Path
    project: str
    settings: dict[str, str]
    files: tuple[str, ...] = ()  # Compose files beside the first
    first: str = "compose/compose.yaml"

    @classmethod
    @contextmanager
    def cloned(cls, source: Path, clone: Path, name: str, settings: dict[str, str], *files: str) -> Iterator[Self]:
        """Clone a repository; whatever is then brought up is taken down again, with its volumes and images."""
        subprocess.run(["git", "clone", "--quiet", str(source), str(clone)], check=True)
        stack = cls(clone, f"baton-{name}-{os.getpid()}", settings, files)
        with stack.taken_down():
            yield stack

    @contextmanager
    def taken_down(self) -> Iterator[None]:
        """Take down, at the end of the block, what was brought up."""
        try:
            yield
        finally:
            self.compose("down", "--volumes", "--rmi", "local", "--remove-orphans", COMPOSE_PROFILES="*")

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of commands: a project, free ports, and what was chosen."""
        own = {"COMPOSE_PROJECT_NAME": self.project, **dict.fromkeys((*PORTS, "BATON_POSTGRES_PORT"), "0")}
        return {**os.environ, **own, **self.settings, **settings}

    def compose(self, *words: str, **settings: str) -> str:
        """Run a command of `docker compose` and return what it prints; fail with what it says."""
        done = self._run(words, settings)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-3000:]}{done.stderr[-5000:]}"
        return done.stdout.strip()

    def _run(self, words: Sequence[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
        environment, command = self.environment(**settings), self._command(words)
        return subprocess.run(command, cwd=self.clone, env=environment, capture_output=True, text=True, check=False)

    def _command(self, words: Sequence[str]) -> list[str]:
        return ["docker", "compose", *(word for file in (self.first, *self.files) for word in ("-f", file)), *words]

    def piped(self, words: Sequence[str], **streams: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a command of `docker compose` with streams of one's own; what it says beside them is kept."""
        return subprocess.run(
            self._command(words), cwd=self.clone, env=self.environment(), stderr=subprocess.PIPE, check=False, **streams
        )

    def up(self, *words: str, **settings: str) -> None:
        self.compose("up", "--wait", *words, **settings)

    def baton(self, *words: str) -> Any:
        """Run the command line where people run it, in the trainer's container; return what it says as JSON."""
        done = self.run_baton(*words)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return json.loads(done.stdout)

    def run_baton(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._run(["exec", "-T", "trainer", "baton", *words, "--json"], {})

    def url(self, service: str, port: int) -> str:
        """Return where a published port answers, from outside."""
        return f"http://{self.compose('port', service, str(port))}"

    @property
    def predictions(self) -> str:
        return self.url("proxy", 8000)

    def containers(self, service: str | None = None) -> list[str]:
        """Return the ids of running containers, the oldest first."""
        labels = [f"label={LABEL}.project={self.project}"]
        labels += [f"label={LABEL}.service={service}"] if service else []
        filters = [word for label in labels for word in ("--filter", label)]
        return list(reversed(docker("ps", "--quiet", "--no-trunc", *filters).split()))

    def predict(self, path: str = "/predict", row: dict[str, Any] = ROW, key: str = "") -> httpx.Response:
        headers = {"X-API-Key": key} if key else {}
        return httpx.post(f"{self.predictions}{path}", json=row, headers=headers, timeout=10, trust_env=False)

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.predictions}{path}", timeout=10, trust_env=False).json()

    def load(self, rows: int = 1) -> Load:
        return Load(f"{self.predictions}/models/heart-disease/predict", ROW if rows == 1 else [ROW] * rows)

    def scale(self, predictors: int) -> None:
        self.up("--no-recreate", "--scale", f"predictor={predictors}")


def inspected(container: str) -> dict[str, Any]:
    (found,) = json.loads(docker("inspect", container))
    return dict(found)


def service_of(container: str) -> str:
    return str(inspected(container)["Config"]["Labels"][f"{LABEL}.service"])


def addresses(container: str) -> dict[str, str]:
    """Return a container's address in each of its networks."""
    return {name: net["IPAddress"] for name, net in inspected(container)["NetworkSettings"]["Networks"].items()}


def own_url(predictor: str) -> str:
    """Return where one predictor answers, past the proxy: its engine's machine reaches it."""
    (address,) = addresses(predictor).values()
    return f"http://{address}:8000"


def logs(container: str) -> str:
    """Return what a container wrote, on both streams."""
    command = ["docker", "logs", container]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout


def is_healthy(container: str) -> bool:
    return docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy"


def wait_until_healthy(container: str) -> None:
    wait_for(f"{service_of(container)} to be healthy", lambda: is_healthy(container), 300)


def inside(container: str, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a container."""
    words = ["docker", "exec", "--interactive", container, *command]
    return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=120, check=False)
