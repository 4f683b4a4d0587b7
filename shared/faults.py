"""Fault points: instants between two steps at which a test may kill or hold a service; elsewhere they do nothing.

A point acts only where `BATON_FAULTS` names a folder. A file of the point's name in there arms it for the one process
that comes by first: empty, and the process ends as `kill -9` ends it; `sleep 30`, and it stays where it is that long.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

FOLDER = "BATON_FAULTS"

POINTS: dict[str, str] = {
    "trainer.started": "the attempt is counted and announced, nothing is trained",
    "trainer.trained": "the run is logged, its bundle is not stored",
    "trainer.stored": "the bundle is stored, the version is not registered",
    "trainer.registered": "the version is registered, the request's end is not noted",
    "trainer.noted": "the request's end is noted, and not published",
    "trainer.published": "the request's end is published, and not noted as such",
    "trainer.ended": "the request's end is noted as published, its message is not acknowledged",
    "promoter.judged": "the judgement is made, and not recorded",
    "promoter.recorded": "decision and intent are recorded, no version is cleaned up that it names",
    "promoter.cleaned": "what was to be cleaned up is gone, the decision is not announced",
    "promoter.announced": "the decision is announced, and not carried out",
    "promoter.renewed": "the intent is renewed, MLflow is not asked",
    "promoter.promoted": "MLflow has committed, the intent is not closed",
    "promoter.overtaken": "MLflow has refused an intent that is out of date, the decision is not superseded",
    "promoter.closed": "the intent is closed, the message is not acknowledged",
    "promoter.deleted": "a cleanup deleted a version, not the next one and not its bundle",
    "relay.read": "the change is read, and its bundle not looked at",
    "relay.bundled": "the bundle is known, the change is not published",
    "relay.published": "the change is published, and not marked as such",
    "relay.marked": "the change is marked as published, stages are not mirrored",
    "predictor.verifying": "the bundle is fetched, and not verified",
}  # fmt: skip
"""Every point, and what is done and what is not when it is passed."""


def point(name: str) -> None:
    """Die or stay here if a test wants it; `name` is one of `POINTS`."""
    if folder := os.environ.get(FOLDER):
        _act(_claimed(Path(folder) / name))


def _claimed(armed: Path) -> str | None:
    """Disarm a point and return what it was armed with; None if it was not, or somebody else was faster."""
    with suppress(FileNotFoundError):
        action = armed.read_text()
        armed.unlink()
        return action.strip() or "kill"
    return None


def _act(action: str | None) -> None:
    match (action or "").split():
        case []:
            return
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["sleep", seconds]:
            time.sleep(float(seconds))
        case _:
            raise ValueError(f"a fault point takes `kill` or `sleep SECONDS`, not {action!r}")
