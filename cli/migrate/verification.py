"""Verification: the source read again, the target read back through MLflow's public client, both compared."""

from pathlib import Path
from typing import Any

from cli.migrate.check import Check, found
from cli.migrate.check_registry import compare_model
from cli.migrate.check_runs import compare_run
from cli.migrate.comparison import Item
from cli.migrate.experiment import Dataset, Experiment
from cli.migrate.findings import Findings
from cli.migrate.logged_model import LoggedModel, read_logged_model
from cli.migrate.plan import Plan, PlannedExperiment, is_default, is_renamed
from cli.migrate.progress import Step
from cli.migrate.records import EXPERIMENT, LOGGED_MODEL, MODEL, RUN
from cli.migrate.run import read_run
from cli.migrate.session import held
from cli.migrate.target import transaction
from cli.migrate.tree import RunFolder

DATASETS = """
    SELECT name, digest, dataset_uuid, dataset_source_type, dataset_source, dataset_schema, dataset_profile
    FROM datasets WHERE experiment_id = %s
"""


def verify(check: Check, plan: Plan, step: Step) -> None:
    """Compare everything that was migrated of a plan."""
    targets = check.done.targets
    for planned in plan.experiments:
        target = targets[EXPERIMENT].get(planned.experiment.id)
        if target is None:
            continue
        if not is_default(planned.experiment):  # that one is the target's own, only its runs were added
            _compare_experiment(check, planned.experiment, target)
        _compare_runs(check, planned, target, step)
        for path in planned.logged_models:
            if path.name in targets[LOGGED_MODEL]:
                _compare_logged_model(check, path)
    for model in plan.models:
        original = next((old for old, new in plan.renamed.items() if new == model.name), model.name)
        if original in targets[MODEL]:
            compare_model(check, model, targets[MODEL][original])


def _compare_experiment(check: Check, experiment: Experiment, target: str) -> None:
    there = found(check.client.get_experiment, target)
    source = {
        "name": experiment.name,
        "lifecycle": experiment.lifecycle,
        "created": experiment.created,
        "updated": experiment.updated,
        "tags": experiment.tags,
    }
    stored = there and Item(
        {
            "name": experiment.name if is_renamed(experiment.name, there.name) else there.name,
            "lifecycle": there.lifecycle_stage,
            "created": there.creation_time,
            "updated": there.last_update_time,
            "tags": there.tags,
        }
    )
    check.comparison.compare(EXPERIMENT, experiment.id, Item(source), stored)


def _compare_runs(check: Check, planned: PlannedExperiment, target: str, step: Step) -> None:
    expected = {path.name: path for path in planned.runs}
    datasets = _datasets(check, planned.experiment, int(target))
    done, seen = check.done.targets[RUN], set()
    renamed: dict[str, Path] | None = None
    for there in check.pages(target):
        run_id = there.info.run_id
        if run_id not in done:
            continue  # the target's own
        if run_id not in expected and renamed is None:
            renamed = _folders_of_other_names(check, planned)
        path = expected.get(run_id) or (renamed or {}).get(run_id)
        if path is not None:
            seen.add(path.name)
            compare_run(check, RunFolder(planned.experiment.id, path), there, datasets)
        step.advance()
    for name in expected.keys() & done.keys() - seen:
        check.comparison.compare(RUN, name, Item({}), None)


def _datasets(check: Check, experiment: Experiment, target: int) -> dict[str, Dataset]:
    """Return an experiment's data sets by their folders; of one that the target had of its own, that one."""
    with transaction(check.connection) as cursor:
        cursor.execute(DATASETS, (target,))
        there = {(name, digest): (own, details) for name, digest, own, *details in cursor.fetchall()}
    found = {}
    for dataset in experiment.datasets:
        own, details = there.get((dataset.name, dataset.digest), (dataset.id_in(target), []))
        if own == dataset.id_in(target):
            found[dataset.folder] = dataset
        else:
            found[dataset.folder] = Dataset(dataset.folder, dataset.name, dataset.digest, *details)
    return found


def _folders_of_other_names(check: Check, planned: PlannedExperiment) -> dict[str, Path]:
    """Return the folders whose name is not their run's id, by that id."""
    folders = {}
    for path in planned.runs:
        if path.name not in check.done.targets[RUN]:
            run = read_run(RunFolder(planned.experiment.id, path), check.root, check.limits, Findings())
            if run is not None:
                folders[run.id] = path
    return folders


def _compare_logged_model(check: Check, path: Path) -> None:
    model = read_logged_model(path, check.root, check.limits, Findings())
    if model is None:
        return
    if model.lifecycle == "active":
        there = found(check.client.get_logged_model, model.id)
        source: dict[str, Any] = {
            "name": model.name,
            "status": model.status,
            "params": model.params,
            "tags": model.tags,
        }
        stored = there and Item(
            {
                "name": there.name,
                "status": str(there.status),
                "params": there.params,
                "tags": there.tags,
                "run": there.source_run_id,
                "created": there.creation_timestamp,
                "type": there.model_type,
            }
        )
        source |= {"run": model.source_run, "created": model.created, "type": model.model_type}
        check.comparison.compare(LOGGED_MODEL, model.id, Item(source), stored)
        if there is not None:
            points = [
                [m.key, m.timestamp, m.step, m.run_id, m.value, m.dataset_name, m.dataset_digest]
                for m in there.metrics or []
            ]
            check.comparison.compare("logged model's point", model.id, _points(check, model), sorted(points))
    check.artifacts(LOGGED_MODEL, model.id)


def _points(check: Check, model: LoggedModel) -> list[list[Any]]:
    """Return a logged model's points of runs that the target has; of those of one run, step and time the first."""
    found: dict[tuple[str, int, int, str], list[Any]] = {}
    for key, history in model.metrics.items():
        for piece in history.model_pieces(Findings(), check.bounds.points):
            with transaction(check.connection) as cursor:
                known = held(cursor, RUN, {point.run_id for point in piece})
            for point, run, dataset in piece:
                if run in known:
                    place = (key, point.timestamp, point.step, run)
                    found.setdefault(place, [*place, point.value, *(dataset or (None, None))])
    return sorted(found.values())
