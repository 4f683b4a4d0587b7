"""Experiments and their data sets."""

import uuid
from dataclasses import dataclass, field
from pathlib import Path

from cli.migrate.fields import Fields
from cli.migrate.findings import Findings
from cli.migrate.folders import read_values, subfolders
from cli.migrate.limits import Limits
from cli.migrate.links import is_led_outside
from cli.migrate.meta import read_meta
from cli.migrate.origin import Origin
from cli.migrate.run import LIFECYCLES
from cli.migrate.tree import META, ExperimentFolder, relative

DEFAULT_ID = "0"
NAMESPACE = uuid.UUID("6f2c8f0e-6d0c-4f63-9f0a-6261746f6e01")  # ids that are derived are the same on each attempt


@dataclass
class Dataset:
    """A data set that runs of an experiment took as input; `folder` is its name in the FileStore."""

    folder: str
    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None
    profile: str | None

    def id_in(self, experiment: int) -> str:
        """Return its id in an experiment of the target: made of what is unique there, and the same on each attempt."""
        return str(uuid.uuid5(NAMESPACE, f"{experiment}\0{self.name}\0{self.digest}"))


@dataclass
class Experiment:
    """An experiment as it will stand in the new store, except for its id."""

    folder: ExperimentFolder
    name: str
    origin: Origin
    lifecycle: str
    artifact_location: str | None
    created: int | None
    updated: int | None
    tags: dict[str, str] = field(default_factory=dict)
    datasets: list[Dataset] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Return the experiment's id in the source."""
        return self.folder.id


def read_experiment(folder: ExperimentFolder, root: Path, limits: Limits, findings: Findings) -> Experiment:
    """Read an experiment; one whose meta.yaml is lost keeps its runs under a name made from its id."""
    meta, where = read_meta(folder.path / META, root), relative(folder.path, root)
    fields = Fields(meta, where, "experiment", findings)
    name = said = fields.text("name", limits.get("experiments", "name"))
    created = fields.integer("creation_time")
    if meta.problems or not name:
        reason = "; ".join(meta.problems) or "it has no name"
        name = name or f"recovered-{folder.id}"
        fields.repaired(f"{reason}: the experiment goes through as {name!r}")
    tag_limit = limits.get("experiment_tags", "value")
    return Experiment(
        folder=folder,
        name=name,
        origin=Origin(said, created),
        lifecycle=fields.choice("lifecycle_stage", LIFECYCLES, "deleted" if folder.deleted else "active"),
        artifact_location=fields.text("artifact_location", limits.get("experiments", "artifact_location")),
        created=created,
        updated=fields.integer("last_update_time"),
        tags=read_values(folder.path / "tags", f"{where}/tags", "experiment tag", findings, root, tag_limit),
        datasets=list(_datasets(folder, root, limits, findings)),
    )


def _datasets(folder: ExperimentFolder, root: Path, limits: Limits, findings: Findings) -> list[Dataset]:
    found: dict[tuple[str, str], Dataset] = {}
    for name in subfolders(folder.path / "datasets"):
        path = folder.path / "datasets" / name
        if is_led_outside(path, root, relative(path, root), "data set", findings):
            continue
        meta = read_meta(path / META, root)
        fields = Fields(meta, relative(path, root), "data set", findings)
        dataset = _dataset(name, fields, limits)
        if not dataset.name or not dataset.digest:
            reason = "; ".join(meta.problems) or "it has no name or no digest"
            findings.quarantined(fields.path, "data set", reason)
        elif (dataset.name, dataset.digest) in found:
            findings.quarantined(fields.path, "data set", f"a copy of {found[dataset.name, dataset.digest].folder}")
        else:
            found[dataset.name, dataset.digest] = dataset
    return list(found.values())


def _dataset(name: str, fields: Fields, limits: Limits) -> Dataset:
    def text(field_name: str, column: str) -> str:
        return fields.text(field_name, limits.get("datasets", column)) or ""

    return Dataset(
        folder=name,
        name=text("name", "name"),
        digest=text("digest", "digest"),
        source_type=text("source_type", "dataset_source_type"),
        source=text("source", "dataset_source"),
        schema=fields.text("schema"),
        profile=fields.text("profile"),
    )
