"""Brings up a stack of containers of its own, trains a champion, prints what each part takes, and takes it down again.

Nothing but Python and Docker is needed. Ports are free ones, and volumes are deleted: a stack that runs is left alone.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COMPOSE = ("docker", "compose", "-f", "compose/compose.yaml")
PORTS = ("BATON_PREDICTOR_PORT", "BATON_PROMOTER_PORT", "BATON_MLFLOW_PORT", "BATON_NATS_PORT")
LABEL = "com.docker.compose"
SERVICE = f'{{{{index .Config.Labels "{LABEL}.service"}}}}'
MEGABYTE = 1_000_000
LAST_EVENT_S = 5.0


@dataclass
class Start:
    """When a container was started and when it was ready (healthy, or done if it runs once), in seconds."""

    service: str
    started: float
    ready: float | None = None


@contextmanager
def watched(project: str) -> Iterator[dict[str, Start]]:
    """Note the first start of each container of a project, by its id, while the block runs."""
    starts: dict[str, Start] = {}
    filters = ("--filter", "type=container", "--filter", f"label={LABEL}.project={project}")
    command = ["docker", "events", "--since", str(time.time()), *filters, "--format", "{{json .}}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:

        def note() -> None:
            for line in events.stdout or ():
                _note(json.loads(line), starts)

        listening = threading.Thread(target=note)
        listening.start()
        try:
            yield starts
            ends = time.monotonic() + LAST_EVENT_S
            while time.monotonic() < ends and not all(start.ready for start in list(starts.values())):
                time.sleep(0.05)
        finally:
            events.terminate()
            listening.join()


def _note(event: dict[str, Any], starts: dict[str, Start]) -> None:
    seconds, container = event["timeNano"] / 1e9, event["Actor"]["ID"]
    if event["Action"] == "start":
        starts.setdefault(container, Start(event["Actor"]["Attributes"][f"{LABEL}.service"], seconds))
    elif event["Action"] in {"health_status: healthy", "die"} and container in starts:
        starts[container].ready = starts[container].ready or seconds


def table(project: str, starts: dict[str, Start], base: str) -> list[dict[str, str]]:
    """Return a row per container that runs, and per image that was built beside.

    A row has the image's MB, what it adds to `base`, seconds until healthy (or done), memory.
    """
    memory = dict(
        line.split(" ", 1)
        for line in docker("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}").splitlines()
    )
    rows = []
    for container in docker("ps", "--quiet", "--no-trunc", "--filter", f"label={LABEL}.project={project}").split():
        image = docker("inspect", "--format", "{{.Image}}", container)
        rows.append(_row(starts[container].service, image, base, starts[container], memory[container].split(" ")[0]))
    running = {row["service"] for row in rows}
    once = {start.service: start for start in starts.values()}
    for service, image in images(project).items():
        if service not in running:
            rows.append(_row(service, image, base, once.get(service), ""))
    return sorted(rows, key=lambda row: row["service"])


def _row(service: str, image: str, base: str, start: Start | None, memory: str) -> dict[str, str]:
    base_layers = layers(base)
    on_base = layers(image)[: len(base_layers)] == base_layers
    return {
        "service": service,
        "image MB": f"{size(image) / MEGABYTE:.0f}",
        "on base MB": f"{(size(image) - size(base)) / MEGABYTE:.0f}" if on_base else "",
        "healthy after s": f"{start.ready - start.started:.1f}" if start and start.ready else "",
        "memory": memory,
    }


def images(project: str) -> dict[str, str]:
    """Return the images that were built for a project, by service."""
    filters = ("--filter", f"label={LABEL}.project={project}", "--filter", "dangling=false")
    built = docker("image", "ls", "--quiet", "--no-trunc", *filters).split()
    return {docker("image", "inspect", "--format", SERVICE, image): image for image in built}


def size(image: str) -> int:
    """Return an image's size in bytes."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def layers(image: str) -> list[str]:
    """Return the digests of an image's layers, the lowest first."""
    found: list[str] = json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
    return found


def docker(*words: str) -> str:
    """Return what a docker command prints."""
    command = ["docker", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def printed(rows: list[dict[str, str]]) -> str:
    """Return rows as a Markdown table."""
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    lines = [rows[0].keys(), ["-" * width for width in widths.values()], *(row.values() for row in rows)]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths.values(), strict=True)) + " |"
        for line in lines
    )


def main() -> None:
    """Bring up, train, measure, take down."""
    project = f"baton-sizes-{os.getpid()}"
    environment = {**os.environ, "COMPOSE_PROJECT_NAME": project, **dict.fromkeys(PORTS, "0")}

    def compose(*words: str) -> None:
        subprocess.run([*COMPOSE, *words], cwd=ROOT, env=environment, stdout=sys.stderr, check=True)

    compose("build")
    try:
        with watched(project) as starts:
            compose("up", "--wait")
        compose("exec", "-T", "trainer", "baton", "train", "heart-disease", "--wait")
        print(printed(table(project, starts, environment.get("BATON_PYTHON_IMAGE", "python:3.11-slim"))))
    finally:
        compose("down", "--volumes", "--rmi", "local", "--remove-orphans")


if __name__ == "__main__":
    main()
