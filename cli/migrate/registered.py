"""Registered models, their versions and aliases."""

from dataclasses import dataclass, field
from pathlib import Path

from cli.migrate.fields import Fields
from cli.migrate.findings import Findings
from cli.migrate.folders import read_values, value_files
from cli.migrate.limits import Limits
from cli.migrate.links import is_led_outside
from cli.migrate.meta import read_meta
from cli.migrate.origin import Origin
from cli.migrate.tree import META, relative, strange_folders, version_folders

STAGES = {name: name for name in ("None", "Staging", "Production", "Archived")}
STATUSES = {1: "PENDING_REGISTRATION", 2: "FAILED_REGISTRATION", 3: "READY"}
FORBIDDEN = set("/:")
PRODUCTION, CHAMPION = "Production", "champion"


@dataclass
class Version:
    """A model version as it will stand in the new store, except for its URIs."""

    number: int
    where: str
    created: int | None
    updated: int | None
    description: str | None
    user: str | None
    stage: str
    source: str
    storage: str | None
    run_id: str | None
    run_link: str | None
    status: str
    status_message: str | None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Registered:
    """A registered model with its versions; `aliases` maps each alias to a version's number."""

    name: str
    where: str
    origin: Origin
    created: int | None
    updated: int | None
    description: str | None
    tags: dict[str, str] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    aliases: dict[str, int] = field(default_factory=dict)

    def old_champion(self) -> tuple[int | None, str]:
        """Return the version that is to be champion, and why: its alias, else the newest in Production."""
        if CHAMPION in self.aliases:
            return self.aliases[CHAMPION], "it had the alias champion"
        running = sorted(version.number for version in self.versions if version.stage == PRODUCTION)
        if not running:
            return None, "no version was in Production"
        if len(running) == 1:
            return running[0], "it was in Production"
        return running[-1], f"it is the newest of versions {', '.join(map(str, running))}, all in Production"


def read_registered(path: Path, root: Path, limits: Limits, findings: Findings) -> Registered | None:
    """Read a registered model, None (and a finding) if it stays behind."""
    where, meta = relative(path, root), read_meta(path / META, root)
    if is_led_outside(path, root, where, "registered model", findings):
        return None
    if meta.missing and not version_folders(path):
        findings.quarantined(where, "registered model", "an empty folder: neither meta.yaml nor versions")
        return None
    fields = Fields(meta, where, "registered model", findings)
    name = _name(fields, where.rsplit("/", 1)[-1], limits)
    if meta.problems:
        fields.repaired(f"{'; '.join(meta.problems)}: the model goes through as {name!r}")
    for stranger in strange_folders(path):
        findings.quarantined(relative(path / stranger, root), "model version", "the folder's name is no version's")
    created = fields.integer("creation_timestamp")
    tag_limit = limits.get("registered_model_tags", "value")
    model = Registered(
        name=name,
        where=where,
        origin=Origin(name, created),
        created=created,
        updated=fields.integer("last_updated_timestamp"),
        description=fields.text("description", limits.get("registered_models", "description")),
        tags=read_values(path / "tags", f"{where}/tags", "model tag", findings, root, tag_limit),
    )
    found = (_version(number, folder, root, limits, findings) for number, folder in version_folders(path))
    model.versions = [version for version in found if version is not None]
    model.aliases = _aliases(path, where, findings, root, {version.number for version in model.versions})
    return model


def _name(fields: Fields, folder: str, limits: Limits) -> str:
    """Return a model's name: the folder's, where meta.yaml says none or one that MLflow refuses, for it makes paths."""
    name, own = fields.text("name", limits.get("registered_models", "name")), folder.replace(":", "_")
    if name and (FORBIDDEN & set(name) or name in {".", ".."}):
        fields.repaired(f"its name {name[:100]!r} is one that MLflow refuses: the model goes through as {own!r}")
        return own
    return name or own


def _version(number: int, path: Path, root: Path, limits: Limits, findings: Findings) -> Version | None:
    where, meta = relative(path, root), read_meta(path / META, root)
    fields = Fields(meta, where, "model version", findings)
    if is_led_outside(path, root, where, "model version", findings):
        return None
    source = fields.text("source", limits.get("model_versions", "source"))
    if not source:
        reason = "; ".join(meta.problems) or "it has no source"
        findings.quarantined(where, "model version", f"{reason}: what it served cannot be told")
        return None
    if meta.problems:
        fields.repaired("; ".join(meta.problems))
    if fields.integer("version", number) != number:
        fields.repaired(f"{META} says version {meta.values['version']}: the folder's number instead")

    def text(name: str) -> str | None:
        return fields.text(name, limits.get("model_versions", name))

    tag_limit = limits.get("model_version_tags", "value")
    return Version(
        number=number,
        where=where,
        created=fields.integer("creation_timestamp"),
        updated=fields.integer("last_updated_timestamp"),
        description=text("description"),
        user=text("user_id"),
        stage=fields.choice("current_stage", STAGES, "None"),
        source=source,
        storage=text("storage_location"),
        run_id=text("run_id"),
        run_link=text("run_link"),
        status=fields.choice("status", STATUSES, "READY"),
        status_message=text("status_message"),
        tags=read_values(path / "tags", f"{where}/tags", "version tag", findings, root, tag_limit),
    )


def _aliases(path: Path, where: str, findings: Findings, root: Path, numbers: set[int]) -> dict[str, int]:
    aliases = {}
    for entry in value_files(path / "aliases", f"{where}/aliases", "alias", findings, root):
        place = f"{where}/aliases/{entry.key}"
        try:
            number = int(Path(entry.path).read_bytes())
        except (OSError, ValueError):
            findings.quarantined(place, "alias", "holds no version's number")
            continue
        if number in numbers:
            aliases[entry.key] = number
        else:
            findings.quarantined(place, "alias", f"points to version {number}, which is not there or stays behind")
    return aliases
