"""Runs: what a run's folder holds, repaired where it must be."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cli.migrate.fields import Fields, clean, shown
from cli.migrate.findings import Findings
from cli.migrate.folders import printable, read_values, subfolders
from cli.migrate.history import History, find_histories
from cli.migrate.limits import Limits
from cli.migrate.links import REASON, is_led_outside, leads_outside
from cli.migrate.meta import Meta, read_meta
from cli.migrate.tree import MADE_RUN_ID, META, MODEL_ID, RUN_ID, RunFolder, relative

STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
SOURCES = {1: "NOTEBOOK", 2: "JOB", 3: "PROJECT", 4: "LOCAL", 5: "UNKNOWN", 1000: "UNKNOWN"}
LIFECYCLES = {"active": "active", "deleted": "deleted"}
NAME_TAG, USER_TAG = "mlflow.runName", "mlflow.user"


@dataclass(frozen=True)
class Input:
    """An edge between a run and a data set (`dataset`) or logged model (`model_input`, `model_output`)."""

    kind: str
    folder: str
    target: str
    step: int = 0
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Run:
    """A run as it will stand in the new store; times are milliseconds since 1970."""

    id: str
    folder: Path
    name: str | None
    user: str | None
    status: str
    start: int | None
    end: int | None
    deleted_at: int | None
    lifecycle: str
    artifact_uri: str | None
    source_type: str = "LOCAL"
    source_name: str = ""
    entry_point: str = ""
    source_version: str = ""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, History] = field(default_factory=dict)
    inputs: list[Input] = field(default_factory=list)


def run_id(folder: RunFolder, root: Path, meta: Meta, findings: Findings) -> str | None:
    """Return a run's id, None (and a finding) for a folder that is a copy of another or has no usable id.

    The folder's name is the id in a sound store. A folder of another name is a run whose folder was renamed, unless a
    folder of the right name is there too: then it is a copy.
    """
    where = relative(folder.path, root)
    said = meta.values.get("run_id") or meta.values.get("run_uuid")
    if said in (None, folder.name) and RUN_ID.fullmatch(folder.name):
        return folder.name
    if isinstance(said, str) and said != folder.name and RUN_ID.fullmatch(said):
        if any((path / said).is_dir() for path in (folder.path.parent, *root.iterdir(), *root.glob(".trash/*"))):
            findings.quarantined(where, "run", f"a copy of run {said}, which has a folder of its own")
            return None
        chosen = folder.name if MADE_RUN_ID.fullmatch(folder.name) else said
        findings.repaired(where, "run", f"the folder and the run_id {said} in {META} differ: {chosen} it is")
        return chosen
    if RUN_ID.fullmatch(folder.name):
        findings.repaired(where, "run", f"run_id in {META} is unusable: the folder's name instead")
        return folder.name
    findings.quarantined(where, "run", f"no usable run id: neither in {META} nor as the folder's name")
    return None


def claimed_id(folder: RunFolder, root: Path) -> str | None:
    """Return the id that a run's folder goes by, None if by none; only a folder that was renamed has to be opened."""
    if MADE_RUN_ID.fullmatch(folder.name):
        return folder.name
    return run_id(folder, root, read_meta(folder.path / META, root), Findings())


def read_run(folder: RunFolder, root: Path, limits: Limits, findings: Findings) -> Run | None:
    """Read a run, None (and a finding) if it stays behind."""
    meta = read_meta(folder.path / META, root)
    found_id = run_id(folder, root, meta, findings)
    if found_id is None:
        return None
    where = relative(folder.path, root)
    fields = Fields(meta, where, "run", findings)
    run = _described(found_id, folder, fields, limits)
    run.params = read_values(
        folder.path / "params", f"{where}/params", "param", findings, root, limits.get("params", "value")
    )
    run.tags = read_values(folder.path / "tags", f"{where}/tags", "tag", findings, root, limits.get("tags", "value"))
    run.metrics = find_histories(folder.path / "metrics", f"{where}/metrics", findings, root)
    run.inputs = list(_inputs(folder.path, where, root, findings))
    _complete(run, fields)
    return run


def _described(found_id: str, folder: RunFolder, fields: Fields, limits: Limits) -> Run:
    def text(name: str, column: str, default: str | None = None) -> str | None:
        return fields.text(name, limits.get("runs", column), default)

    return Run(
        id=found_id,
        folder=folder.path,
        name=text("run_name", "name") or text("name", "name") or None,
        user=text("user_id", "user_id"),
        status=fields.choice("status", STATUSES, "RUNNING" if "status" not in fields.meta.values else "KILLED"),
        start=fields.integer("start_time"),
        end=fields.integer("end_time"),
        deleted_at=fields.integer("deleted_time"),
        lifecycle=fields.choice("lifecycle_stage", LIFECYCLES, "active"),
        artifact_uri=text("artifact_uri", "artifact_uri"),
        source_type=fields.choice("source_type", SOURCES, "LOCAL"),
        source_name=text("source_name", "source_name", "") or "",
        entry_point=text("entry_point_name", "entry_point_name", "") or "",
        source_version=text("source_version", "source_version", "") or "",
    )


def _complete(run: Run, fields: Fields) -> None:
    """Fill what meta.yaml does not say from tags and metrics: MLflow's client fails on runs without user or start."""
    run.name = run.name or run.tags.get(NAME_TAG)
    run.user = run.user or run.tags.get(USER_TAG) or ""
    problems = "; ".join(fields.meta.problems)
    if run.start is None:
        run.start = min(_times(run), default=int(run.folder.stat().st_mtime * 1000))
        problems = problems or f"{META} has no start_time"
    if fields.meta.problems and "status" not in fields.meta.values:
        run.status = "KILLED"  # how it ended is not known
    if problems:
        fields.repaired(f"{problems}: what is lacking was taken from the folder, the tags and the metrics")


def _times(run: Run) -> Iterator[int]:
    """Yield times of a run's metrics, the first of each piece."""
    for history in run.metrics.values():
        yield from (min(point.timestamp for point in piece) for piece in history.pieces(Findings()))


def _inputs(folder: Path, where: str, root: Path, findings: Findings) -> Iterator[Input]:
    for part, read in (("inputs", _input), ("outputs", _output)):
        if leads_outside(folder / part, root):
            findings.quarantined(f"{where}/{part}", part[:-1], REASON)
            continue
        for name in subfolders(folder / part):
            path, place = folder / part / name, f"{where}/{part}/{printable(name)}"
            if not is_led_outside(path, root, place, part[:-1], findings):
                found = read(name, Fields(read_meta(path / META, root), place, part[:-1], findings))
                if found is not None:
                    yield found


def _input(name: str, fields: Fields) -> Input | None:
    kinds = {"DATASET": "dataset", "MODEL": "model_input"}
    kind = kinds.get(shown(fields.meta.values.get("source_type", "DATASET"), 40).rsplit(".", 1)[-1])
    target = fields.text("source_id")
    if kind is None or not target or (kind == "model_input" and not MODEL_ID.fullmatch(target)):
        _lost(fields)
        return None
    return Input(kind, printable(name), target, tags=_input_tags(fields))


def _output(name: str, fields: Fields) -> Input | None:
    if not MODEL_ID.fullmatch(name):
        _lost(fields)
        return None
    if fields.meta.problems:
        fields.repaired(f"{'; '.join(fields.meta.problems)}: step 0, unless it can be read")
    return Input("model_output", name, name, fields.integer("step", 0) or 0)


def _lost(fields: Fields) -> None:
    reason = "; ".join(fields.meta.problems) or "names no data set and no model"
    fields.findings.quarantined(fields.path, fields.kind, reason)


def _input_tags(fields: Fields) -> dict[str, str]:
    tags = fields.meta.values.get("tags")
    if not isinstance(tags, dict):
        return {}
    found = {str(key)[:255]: shown(value, 500) for key, value in tags.items()}
    fitting = {clean(key): clean(value) for key, value in found.items()}
    if fitting != found:
        fields.repaired("its tags hold characters that PostgreSQL cannot: taken out")
    return fitting
