"""What a migration is going to do, decided before anything is written: names, conflicts, and which folders."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from cli.migrate import origin
from cli.migrate.experiment import DEFAULT_ID, Experiment, read_experiment
from cli.migrate.fields import shown
from cli.migrate.findings import Findings
from cli.migrate.limits import Limits
from cli.migrate.meta import read_meta
from cli.migrate.records import EXPERIMENT, MODEL, Records, exists
from cli.migrate.registered import Registered, read_registered
from cli.migrate.run import claimed_id
from cli.migrate.tree import (
    META,
    MODELS,
    RunFolder,
    SourceError,
    count_traces,
    experiment_folders,
    logged_model_folders,
    registered_model_folders,
    relative,
    run_folders,
)
from shared.errors import BatonError

SUFFIX, LONGEST = "-migrated", 240  # with a number behind it, no more characters than MLflow's database holds


class OnConflict(StrEnum):
    """What to do with an experiment or a registered model whose name the target has already."""

    FAIL = "fail"
    SKIP = "skip"
    RENAME = "rename"


class ConflictError(BatonError):
    """The target holds names that the source holds too, and no rule was given for them."""


@dataclass(frozen=True)
class Taken:
    """Names that the target holds, apart from those that this source brought there; of those the origins, by key."""

    experiments: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    origins: dict[str, dict[str, str]] = field(default_factory=dict)

    def check(self, kind: str, key: str, own: origin.Origin) -> None:
        """Raise `OriginError` if another store's item was migrated under this key."""
        origin.check(kind, key, own, self.origins.get(kind, {}).get(key, ""))


@dataclass
class PlannedExperiment:
    """An experiment with the folders of its runs and logged models."""

    experiment: Experiment
    runs: list[Path]
    logged_models: list[Path]


@dataclass
class Plan:
    """Everything that is to be migrated, by folder; runs are read when their turn comes.

    `refusal` says why nothing may be written: names clash, and no rule was given for them.
    """

    root: Path
    experiments: list[PlannedExperiment] = field(default_factory=list)
    models: list[Registered] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    traces: int = 0
    assessments: int = 0
    refusal: str = ""

    @property
    def runs(self) -> int:
        """Return the number of run folders."""
        return sum(len(planned.runs) for planned in self.experiments)

    @property
    def logged_models(self) -> int:
        """Return the number of logged models' folders."""
        return sum(len(planned.logged_models) for planned in self.experiments)

    def sentences(self) -> list[str]:
        """Return what becomes of each experiment and registered model, a line each."""
        experiments = (
            f"experiment {planned.experiment.id} becomes {planned.experiment.name!r}: {len(planned.runs):,} runs, "
            f"{len(planned.logged_models):,} logged models"
            for planned in self.experiments
        )
        models = (
            f"registered model {model.where} becomes {model.name!r}: "
            f"versions {', '.join(str(version.number) for version in model.versions) or 'none'}"
            for model in self.models
        )
        return [*experiments, *models]


def read_taken(cursor: Cursor, source: str) -> Taken:
    """Return the names in the target that are not from this source."""
    if not exists(cursor):
        own_experiments, own_models, origins = set(), set(), {}
    else:
        records = Records(cursor, source)
        origins = {kind: records.digests(kind) for kind in (EXPERIMENT, MODEL)}
        own_experiments = set(records.done(EXPERIMENT).values())
        own_models = set(records.done(MODEL).values())
    cursor.execute("SELECT experiment_id::text, name FROM experiments WHERE workspace = 'default'")
    experiments = frozenset(name for number, name in cursor.fetchall() if number not in own_experiments)
    cursor.execute("SELECT name FROM registered_models WHERE workspace = 'default'")
    return Taken(experiments, frozenset(name for (name,) in cursor.fetchall()) - own_models, origins)


def make_plan(
    root: Path, limits: Limits, taken: Taken, rule: OnConflict, only: Iterable[str], findings: Findings
) -> Plan:
    """Read experiments and registered models and settle their names, or say in `refusal` why not."""
    plan, chosen = Plan(root), set(only)
    names: set[str] = set()
    for folder in experiment_folders(root, findings):
        experiment = read_experiment(folder, root, limits, findings)
        if chosen and not chosen & {experiment.id, experiment.name}:
            continue
        taken.check(EXPERIMENT, experiment.id, experiment.origin)
        if experiment.name in names:
            original, experiment.name = experiment.name, free_name(experiment.name, names)
            reason = f"the source has another experiment {original!r}: this one goes through as {experiment.name!r}"
            findings.repaired(folder.id, EXPERIMENT, reason)
        names.add(experiment.name)
        runs = [run.path for run in run_folders(folder, root, findings)]
        plan.experiments.append(PlannedExperiment(experiment, runs, logged_model_folders(folder)))
        traces, assessments = count_traces(folder)
        plan.traces += traces
        plan.assessments += assessments
    _drop_copies(plan, findings)
    if chosen and not plan.experiments:
        raise SourceError(f"the source has no experiment {' or '.join(sorted(chosen))}: give its name or id")
    plan.models = list(_models(root, limits, findings))
    for model in plan.models:
        taken.check(MODEL, model.name, model.origin)
    _settle(plan, taken, rule, findings)
    return plan


def _models(root: Path, limits: Limits, findings: Findings) -> Iterator[Registered]:
    """Yield the registered models; of folders of one name the one that is called so."""
    read = [read_registered(path, root, limits, findings) for path in registered_model_folders(root)]
    found = [model for model in read if model is not None]
    kept: dict[str, Registered] = {}
    for model in sorted(found, key=lambda model: model.where != f"{MODELS}/{model.name}"):
        if kept.setdefault(model.name, model) is model:
            yield model
        else:
            reason = f"a copy: model {model.name!r} is kept from {kept[model.name].where}"
            findings.quarantined(model.where, MODEL, reason)


def _drop_copies(plan: Plan, findings: Findings) -> None:
    """Keep one folder of each run id: the one whose meta.yaml names the experiment that it lies in, else the first."""
    claims: dict[str, list[tuple[PlannedExperiment, Path]]] = {}
    for planned in plan.experiments:
        for path in planned.runs:
            own = claimed_id(RunFolder(planned.experiment.id, path), plan.root)
            if own is not None:  # of a folder without an id the reader says so
                claims.setdefault(own, []).append((planned, path))
    for own, folders in claims.items():
        if len(folders) > 1:
            (_, kept), *copies = sorted(folders, key=lambda folder: not _is_at_home(plan.root, *folder))
            for planned, path in copies:
                planned.runs.remove(path)
                reason = f"a copy: run {own} is kept from {relative(kept, plan.root)}"
                findings.quarantined(relative(path, plan.root), "run", reason)


def _is_at_home(root: Path, planned: PlannedExperiment, path: Path) -> bool:
    return shown(read_meta(path / META, root).values.get("experiment_id"), 40) == planned.experiment.id


def is_renamed(old: str, new: str) -> bool:
    """Tell whether a name was made from another that was taken."""
    return new.startswith(f"{old[:LONGEST]}{SUFFIX}")


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return a name that is not taken, made from one that is."""
    candidates = (f"{name[:LONGEST]}{SUFFIX}{f'-{number}' if number > 1 else ''}" for number in range(1, 10_000))
    return next(candidate for candidate in candidates if candidate not in taken)


def _settle(plan: Plan, taken: Taken, rule: OnConflict, findings: Findings) -> None:
    own = [p.experiment for p in plan.experiments if not is_default(p.experiment)]
    clashes = [experiment.name for experiment in own if experiment.name in taken.experiments]
    clashes_of_models = [model.name for model in plan.models if model.name in taken.models]
    if rule is OnConflict.FAIL and (clashes or clashes_of_models):
        held = [f"experiment {name!r}" for name in clashes] + [f"model {name!r}" for name in clashes_of_models]
        plan.refusal = (
            f"the target has {', '.join(held[:10])}{' and more' if len(held) > 10 else ''} already, and nothing was "
            "written: choose --on-conflict skip or --on-conflict rename"
        )
        return
    if rule is OnConflict.SKIP:
        for kind, name in [(EXPERIMENT, name) for name in clashes] + [(MODEL, name) for name in clashes_of_models]:
            findings.skipped(name, kind, "the target has one of this name, and --on-conflict skip was given")
        plan.experiments = [p for p in plan.experiments if p.experiment.name not in clashes or is_default(p.experiment)]
        plan.models = [model for model in plan.models if model.name not in clashes_of_models]
    for experiment in own:
        if experiment.name in clashes:
            others = taken.experiments | {p.experiment.name for p in plan.experiments}
            experiment.name = _renamed(experiment.name, others, EXPERIMENT, findings)
    for model in plan.models:
        if model.name in clashes_of_models:
            old, model.name = (
                model.name,
                _renamed(model.name, taken.models | {m.name for m in plan.models}, MODEL, findings),
            )
            plan.renamed[old] = model.name


def _renamed(name: str, taken: Iterable[str], kind: str, findings: Findings) -> str:
    new = free_name(name, set(taken))
    findings.noted(name, kind, f"the target has one of this name: it goes through as {new!r}")
    return new


def is_default(experiment: Experiment) -> bool:
    """Tell whether this is the experiment that every store has: its runs join the target's."""
    return experiment.id == DEFAULT_ID and experiment.name == "Default"
