"""Logged models, which MLflow 3 keeps beside runs."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from cli.migrate.fields import Fields
from cli.migrate.findings import Findings
from cli.migrate.folders import read_values, value_files
from cli.migrate.limits import Limits
from cli.migrate.meta import read_meta
from cli.migrate.metric import ModelPoint, read_model_points
from cli.migrate.run import LIFECYCLES
from cli.migrate.tree import META, relative

MODEL_ID = re.compile(r"[\w\-]{1,36}")
STATUSES = {0: "UNSPECIFIED", 1: "PENDING", 2: "READY", 3: "FAILED"}
NUMBERS = {word: number for number, word in STATUSES.items()}


@dataclass
class LoggedModel:
    """A logged model as it will stand in the new store."""

    id: str
    folder: Path
    name: str
    artifact_location: str | None
    created: int
    updated: int
    status: str
    lifecycle: str
    model_type: str | None
    source_run: str | None
    status_message: str | None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[ModelPoint]] = field(default_factory=dict)


def read_logged_model(path: Path, root: Path, limits: Limits, findings: Findings) -> LoggedModel | None:
    """Read a logged model, None (and a finding) if it stays behind."""
    where, meta = relative(path, root), read_meta(path / META)
    if meta.is_empty or not MODEL_ID.fullmatch(path.name):
        reason = "; ".join(meta.problems) or "the folder's name is no model id"
        findings.quarantined(where, "logged model", reason)
        return None
    fields = Fields(meta, where, "logged model", findings)
    if meta.problems:
        fields.repaired("; ".join(meta.problems))
    return LoggedModel(
        id=path.name,
        folder=path,
        name=fields.text("name", limits.get("logged_models", "name")) or path.name,
        artifact_location=fields.text("artifact_location"),
        created=fields.integer("creation_timestamp", 0) or 0,
        updated=fields.integer("last_updated_timestamp", 0) or 0,
        status=fields.choice("status", STATUSES, "UNSPECIFIED"),
        lifecycle=fields.choice("lifecycle_stage", LIFECYCLES, "active"),
        model_type=fields.text("model_type", limits.get("logged_models", "model_type")),
        source_run=fields.text("source_run_id"),
        status_message=fields.text("status_message", limits.get("logged_models", "status_message")),
        params=read_values(path / "params", f"{where}/params", "param", findings, root, None),
        tags=read_values(path / "tags", f"{where}/tags", "tag", findings, root, None),
        metrics=_metrics(path / "metrics", f"{where}/metrics", findings, root),
    )


def _metrics(folder: Path, where: str, findings: Findings, root: Path) -> dict[str, list[ModelPoint]]:
    metrics = {}
    for entry in value_files(folder, where, "metric", findings, root):
        place = f"{where}/{entry.key}"
        try:
            metrics[entry.key] = read_model_points(Path(entry.path).read_bytes(), place, findings)
        except OSError as error:
            findings.quarantined(place, "metric", f"cannot be read: {error.strerror}")
    return metrics
