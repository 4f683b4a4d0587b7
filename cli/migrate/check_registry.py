"""Verification of the registry: registered models, their versions, aliases and champions."""

from cli.migrate.check import Check
from cli.migrate.comparison import Item
from cli.migrate.plan import MODEL
from cli.migrate.registered import CHAMPION, Registered, Version

TAG_BUNDLE = "baton.bundle"  # what the promoter adds to a version when it becomes champion


def compare_model(check: Check, model: Registered, name: str) -> None:
    """Compare a registered model, whose name in the target is `name`, and its versions."""
    found = check.client.get_registered_model(name)
    aliases = {alias: int(number) for alias, number in found.aliases.items() if alias != CHAMPION}
    kept = {alias: number for alias, number in model.aliases.items() if alias != CHAMPION}
    source = {"description": model.description or "", "tags": model.tags, "aliases": kept}
    content = {"description": found.description or "", "tags": found.tags, "aliases": aliases}
    check.comparison.compare(MODEL, name, Item(source), Item(content))
    champion, _ = model.old_champion()
    for version in model.versions:
        _compare_version(check, version, name, mirrored=champion is not None)
    if champion is not None:
        held = [str(found.aliases[CHAMPION])] if CHAMPION in found.aliases else None
        check.comparison.compare("champion", name, [str(champion)], held)


def _compare_version(check: Check, version: Version, name: str, *, mirrored: bool) -> None:
    there = check.client.get_model_version(name, str(version.number))
    expected = {
        "stage": version.stage,
        "description": version.description or "",
        "run": version.run_id or "",
        "created": version.created,
        "user": version.user or "",
        "tags": version.tags,
    }
    stored = {
        # The promoter keeps the stages of a model in step with its champion.
        "stage": version.stage if mirrored else there.current_stage,
        "description": there.description or "",
        "run": there.run_id or "",
        "created": there.creation_timestamp,
        "user": there.user_id or "",
        "tags": {key: text for key, text in there.tags.items() if key in version.tags or key != TAG_BUNDLE},
    }
    check.comparison.compare("model version", f"{name}/{version.number}", Item(expected), Item(stored))
