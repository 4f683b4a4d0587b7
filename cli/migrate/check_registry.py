"""Verification of the registry: registered models, their versions, aliases and champions."""

from typing import TYPE_CHECKING, Any

from cli.migrate.artifacts import artifact_files, digest_folder
from cli.migrate.check import Check, found
from cli.migrate.comparison import Item
from cli.migrate.findings import Findings
from cli.migrate.locations import Locations, local_path, migrated_place
from cli.migrate.records import MODEL
from cli.migrate.registered import CHAMPION, Registered, Version

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

TAG_BUNDLE = "baton.bundle"  # what the promoter adds to a version when it becomes champion


def compare_model(check: Check, model: Registered, name: str) -> None:
    """Compare a registered model, whose name in the target is `name`, and its versions."""
    there = found(check.client.get_registered_model, name)
    kept = {alias: number for alias, number in model.aliases.items() if alias != CHAMPION}
    source = {"description": model.description or "", "tags": model.tags, "aliases": kept}
    check.comparison.compare(MODEL, name, Item(source), Item(_stored_model(there)) if there else None)
    champion, _ = model.old_champion()
    for version in model.versions:
        _compare_version(check, version, name, mirrored=champion is not None)
    if champion is not None:
        held = [str(there.aliases[CHAMPION])] if there and CHAMPION in there.aliases else None
        check.comparison.compare("champion", name, [str(champion)], held)


def _stored_model(there: "RegisteredModel") -> dict[str, Any]:
    aliases = {alias: int(number) for alias, number in there.aliases.items() if alias != CHAMPION}
    return {"description": there.description or "", "tags": there.tags, "aliases": aliases}


def _compare_version(check: Check, version: Version, name: str, *, mirrored: bool) -> None:
    there = found(check.client.get_model_version, name, str(version.number))
    expected = {
        "source": _place(check, version.source, version, name),
        "files": _place(check, version.storage or version.source, version, name),
        "status": version.status,
        "message": version.status_message or "",
        "stage": version.stage,
        "description": version.description or "",
        "run": version.run_id or "",
        "created": version.created,
        "user": version.user or "",
        "tags": version.tags,
    }
    stored = Item(_stored_version(check, there, version, mirrored=mirrored)) if there else None
    check.comparison.compare("model version", f"{name}/{version.number}", Item(expected), stored)
    _compare_files(check, version, name)


def _place(check: Check, uri: str, version: Version, name: str) -> str:
    """Return where a version's files must be now."""
    known = migrated_place(uri, lambda kind, key: check.done.targets[kind].get(key))
    folder = local_path(uri, check.root)
    copied = known is None and folder.is_dir() and any(artifact_files(folder, "", folder, Findings()))
    return known or (Locations(check.store.root).version(name, version.number) if copied else uri)


def _compare_files(check: Check, version: Version, name: str) -> None:
    """Compare the files that were copied for a version alone."""
    new = Locations(check.store.root).version(name, version.number)
    if check.store.folder is not None and _place(check, version.source, version, name) == new:
        digest = digest_folder(local_path(version.source, check.root)).digest
        held = digest_folder(check.store.path_of(new)).digest
        check.comparison.compare("artifact folder", f"{name}/{version.number}", [digest], [held] if held else None)


def _stored_version(check: Check, there: "ModelVersion", version: Version, *, mirrored: bool) -> dict[str, Any]:
    return {
        "source": there.source,
        "files": check.client.get_model_version_download_uri(there.name, str(version.number)),
        "status": there.status,
        "message": there.status_message or "",
        # The promoter keeps the stages of a model in step with its champion.
        "stage": version.stage if mirrored else there.current_stage,
        "description": there.description or "",
        "run": there.run_id or "",
        "created": there.creation_timestamp,
        "user": there.user_id or "",
        "tags": {key: text for key, text in there.tags.items() if key in version.tags or key != TAG_BUNDLE},
    }
