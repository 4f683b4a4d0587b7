"""Logged models, which MLflow 3 keeps beside runs."""

from dataclasses import dataclass, field
from pathlib import Path

from cli.migrate.fields import Fields
from cli.migrate.findings import Findings
from cli.migrate.folders import read_values
from cli.migrate.history import History, find_histories
from cli.migrate.limits import Limits
from cli.migrate.links import is_led_outside
from cli.migrate.meta import read_meta
from cli.migrate.run import LIFECYCLES
from cli.migrate.tree import META, MODEL_ID, relative

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
    metrics: dict[str, History] = field(default_factory=dict)


def read_logged_model(path: Path, root: Path, limits: Limits, findings: Findings) -> LoggedModel | None:
    """Read a logged model, None (and a finding) if it stays behind."""
    where, meta = relative(path, root), read_meta(path / META, root)
    if is_led_outside(path, root, where, "logged model", findings):
        return None
    if meta.is_empty or not MODEL_ID.fullmatch(path.name):
        reason = "; ".join(meta.problems) or "the folder's name is no model id"
        findings.quarantined(where, "logged model", reason)
        return None
    fields = Fields(meta, where, "logged model", findings)
    if meta.problems:
        fields.repaired("; ".join(meta.problems))

    def text(name: str) -> str | None:
        return fields.text(name, limits.get("logged_models", name))

    def values(kind: str) -> dict[str, str]:
        limit = limits.get(f"logged_model_{kind}s", f"{kind}_value")
        return read_values(path / f"{kind}s", f"{where}/{kind}s", kind, findings, root, limit)

    return LoggedModel(
        id=path.name,
        folder=path,
        name=text("name") or path.name,
        artifact_location=fields.text("artifact_location"),
        created=fields.integer("creation_timestamp", 0) or 0,
        updated=fields.integer("last_updated_timestamp", 0) or 0,
        status=fields.choice("status", STATUSES, "UNSPECIFIED"),
        lifecycle=fields.choice("lifecycle_stage", LIFECYCLES, "active"),
        model_type=text("model_type"),
        source_run=text("source_run_id"),
        status_message=text("status_message"),
        params=values("param"),
        tags=values("tag"),
        metrics=find_histories(path / "metrics", f"{where}/metrics", findings, root),
    )
