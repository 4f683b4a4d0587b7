"""Batches of runs and logged models: read, artifacts copied, rows written, all noted as done in one transaction.

A batch runs in a process of its own, because reading costs as much time as PostgreSQL takes to write. Killed anywhere,
it leaves whole batches only; artifacts that it copied in vain are found again and kept.
"""

import multiprocessing
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class

from cli.migrate.artifacts import ArtifactStore
from cli.migrate.bounds import Bounds
from cli.migrate.experiment import NAMESPACE
from cli.migrate.findings import Findings
from cli.migrate.history import History
from cli.migrate.limits import Limits
from cli.migrate.locations import model_artifacts, run_artifacts
from cli.migrate.logged_model import LoggedModel, read_logged_model
from cli.migrate.metric import ModelPoint
from cli.migrate.records import LOGGED_MODEL, RUN
from cli.migrate.rows import Edge, Rows, add_edges, add_logged_model, add_model_points, add_run
from cli.migrate.run import Run, read_run
from cli.migrate.session import Session
from cli.migrate.source_place import SourcePlace, place_of_model, place_of_run
from cli.migrate.target import connect, transaction
from cli.migrate.tree import RunFolder, relative


@dataclass(frozen=True)
class Work:
    """What every batch of a migration has in common; `since` is in milliseconds since 1970.

    `partial` tells that only a part of the source was chosen.
    """

    url: str
    source: str
    root: Path
    limits: Limits
    store: ArtifactStore
    since: int | None = None
    partial: bool = False
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(frozen=True)
class Batch:
    """Folders of runs or logged models of one experiment, whose id in the target is `target`.

    `old_location` is where its artifacts went before, as far as its meta.yaml says it.
    """

    kind: str
    experiment: str
    target: int
    datasets: dict[str, str]
    folders: list[Path]
    old_location: str | None = None

    def location(self, store: ArtifactStore) -> str:
        """Return where the experiment's artifacts go."""
        return f"{store.root}/{self.target}"


@dataclass
class Outcome:
    """What a batch did, in numbers."""

    items: int = 0
    written: int = 0
    points: int = 0
    files: int = 0
    bytes: int = 0
    findings: Findings = field(default_factory=Findings)


_work: Work


def start(work: Work) -> None:
    """Make this process ready for batches; it ends when the migration's process does, however that ends."""
    global _work  # noqa: PLW0603 - a process of the pool has one
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _work = work


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def carry_out(batch: Batch) -> Outcome:
    """Migrate a batch in a pool's process."""
    with transaction(_connection(_work.url)) as cursor:
        return migrate(Session(cursor, _work.source, _work.bounds), _work, batch)


@cache
def _connection(url: str) -> Connection:
    """Return this process's connection, opened by its first batch: of that an error is told to the migration."""
    return connect(url)


def migrate(session: Session, work: Work, batch: Batch) -> Outcome:
    """Migrate a batch."""
    outcome, rows = Outcome(items=len(batch.folders)), session.rows()
    carry_over = _migrate_runs if batch.kind == RUN else _migrate_logged_models
    carry_over(session, rows, work, batch, outcome)
    rows.flush()
    outcome.points = rows.written["metrics"]
    session.records.keep(outcome.findings)
    return outcome


def _claim(session: Session, work: Work, kind: str, found: dict[str, Path], findings: Findings) -> list[str]:
    """Return the ids that are to be written: not done by an earlier attempt, not somebody else's in the target."""
    claimed = session.records.claim(kind, found)
    foreign = session.held(kind, claimed)
    for key in sorted(foreign):
        findings.skipped(relative(found[key], work.root), kind, f"the target holds a {kind} {key} of its own")
    session.records.forget(kind, foreign)
    return [key for key in found if key in claimed - foreign]


def _migrate_runs(session: Session, rows: Rows, work: Work, batch: Batch, outcome: Outcome) -> None:
    found: dict[str, Run] = {}
    for path in batch.folders:
        run = read_run(RunFolder(batch.experiment, path), work.root, work.limits, outcome.findings)
        if run is None or (work.since is not None and (run.start or 0) < work.since):
            continue
        found[run.id] = run
    folders = {run.id: run.folder for run in found.values()}
    written = []
    for key in _claim(session, work, RUN, folders, outcome.findings):
        run, where = found[key], relative(folders[key], work.root)
        uri = run_artifacts(batch.location(work.store), key)
        place = place_of_run(work.root, run.folder, key, run.artifact_uri, batch.old_location)
        uri, digest = _place(place, uri, work, outcome)
        add_run(rows, run, batch.target, uri, outcome.findings)
        add_edges(rows, _edges(run, batch, where, outcome.findings))
        written.append((key, uri, digest))
    session.records.finish(RUN, written)
    outcome.written += len(written)


def _migrate_logged_models(session: Session, rows: Rows, work: Work, batch: Batch, outcome: Outcome) -> None:
    found: dict[str, LoggedModel] = {}
    for path in batch.folders:
        model = read_logged_model(path, work.root, work.limits, outcome.findings)
        if model is None or (work.since is not None and model.created < work.since):
            continue
        if not (work.partial and _names_absent_runs(session, work, model)):
            found[model.id] = model
    folders = {model.id: model.folder for model in found.values()}
    written = []
    for key in _claim(session, work, LOGGED_MODEL, folders, outcome.findings):
        model, uri = found[key], model_artifacts(batch.location(work.store), key)
        place = place_of_model(work.root, model.folder, key, model.artifact_location, batch.old_location)
        uri, digest = _place(place, uri, work, outcome)
        add_logged_model(rows, model, batch.target, uri)
        for name, history in model.metrics.items():
            known = _of_known_runs(session, work, history, outcome.findings)
            add_model_points(rows, model, batch.target, name, known)
        written.append((key, uri, digest))
    session.records.finish(LOGGED_MODEL, written)
    outcome.written += len(written)


def _names_absent_runs(session: Session, work: Work, model: LoggedModel) -> bool:
    """Tell whether points of a model are of runs that the target has not: it waits for a migration that brings them."""
    pieces = (piece for h in model.metrics.values() for piece in h.model_pieces(Findings(), work.bounds.points))
    runs = ({point.run_id for point in piece} for piece in pieces)
    return any(named - session.held(RUN, named) for named in runs)


def _of_known_runs(session: Session, work: Work, history: History, findings: Findings) -> Iterator[list[ModelPoint]]:
    """Yield the points of runs that the target has: its tables refuse others."""
    lost: set[str] = set()
    for piece in history.model_pieces(findings, work.bounds.points):
        runs = {point.run_id for point in piece}
        known = session.held(RUN, runs)
        for run in sorted(runs - known - lost):
            findings.quarantined(history.place, "metric line", f"is of run {run}, which is not there or stays behind")
        lost |= runs - known
        yield [point for point in piece if point.run_id in known]


def _place(place: SourcePlace, uri: str, work: Work, outcome: Outcome) -> tuple[str, str]:
    """Copy artifacts to their new place and return it with their digest; what lies in a store of its own stays."""
    if place.remote:
        return place.remote, ""
    source = place.artifacts(outcome.findings)
    copied = work.store.put(source, uri, place.where, work.root, outcome.findings)
    outcome.files += copied.files
    outcome.bytes += copied.bytes
    return uri, copied.digest


def _edges(run: Run, batch: Batch, where: str, findings: Findings) -> list[Edge]:
    """Return the rows that MLflow's SQL store keeps for a run's inputs and outputs."""
    edges = []
    for item in run.inputs:
        own = str(uuid.uuid5(NAMESPACE, f"{run.id}/{item.kind}/{item.folder}"))
        tags = tuple(item.tags.items())
        if item.kind == "model_input":
            edges.append(Edge(own, ("RUN_INPUT", run.id), ("MODEL_INPUT", item.target), tags=tags))
        elif item.kind == "model_output":
            edges.append(Edge(own, ("RUN_OUTPUT", run.id), ("MODEL_OUTPUT", item.target), item.step))
        elif item.target in batch.datasets:
            edges.append(Edge(own, ("DATASET", batch.datasets[item.target]), ("RUN", run.id), tags=tags))
        else:
            reason = f"names data set {item.target}, which is not there or stays behind"
            findings.quarantined(f"{where}/inputs/{item.folder}", "input", reason)
    return edges
