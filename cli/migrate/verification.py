"""Verification: the source read again, the target read back through MLflow's public client, both compared."""

import math
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.migrate.artifacts import ArtifactStore, digest_folder
from cli.migrate.batch import LOGGED_MODEL, RUN
from cli.migrate.comparison import Comparison, Item
from cli.migrate.findings import Findings
from cli.migrate.limits import Limits
from cli.migrate.locations import is_remote
from cli.migrate.logged_model import read_logged_model
from cli.migrate.metric import Point, latest, make_point
from cli.migrate.plan import EXPERIMENT, MODEL, SUFFIX, Plan, PlannedExperiment, is_default
from cli.migrate.progress import Step
from cli.migrate.registered import CHAMPION, Registered
from cli.migrate.run import Run, read_run
from cli.migrate.tree import RunFolder
from shared.settings import sqlalchemy_url

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as TargetRun

PAGE = 500
TAG_BUNDLE = "baton.bundle"  # what the promoter adds to a version when it becomes champion


@dataclass(frozen=True)
class Done:
    """What the target remembers of a migration: by kind, what each item became and the digest of its artifacts."""

    targets: dict[str, dict[str, str]]
    digests: dict[str, dict[str, str]]


@dataclass
class Verifier:
    """Compares one source with one target; `every` is how often a run's whole metric history is read (1: always)."""

    client: "MlflowClient"
    root: Path
    limits: Limits
    store: ArtifactStore
    done: Done
    every: int
    comparison: Comparison

    def verify(self, plan: Plan, step: Step) -> None:
        """Compare everything that was migrated of a plan."""
        for planned in plan.experiments:
            target = self.done.targets[EXPERIMENT].get(planned.experiment.id)
            if target is None:
                continue
            self._experiment(planned, target)
            self._runs(planned, target, step)
            for path in planned.logged_models:
                if path.name in self.done.targets[LOGGED_MODEL]:
                    self._logged_model(path)
        for model in plan.models:
            original = next((old for old, new in plan.renamed.items() if new == model.name), model.name)
            if original in self.done.targets[MODEL]:
                self._model(model, self.done.targets[MODEL][original])

    def _experiment(self, planned: PlannedExperiment, target: str) -> None:
        experiment, found = planned.experiment, self.client.get_experiment(target)
        if is_default(experiment):
            return  # it is the target's own, only its runs were added
        name = experiment.name if found.name.startswith(f"{experiment.name}{SUFFIX}") else found.name
        source = {
            "name": experiment.name,
            "lifecycle": experiment.lifecycle,
            "created": experiment.created,
            "updated": experiment.updated,
            "tags": experiment.tags,
        }
        content = {
            "name": name,
            "lifecycle": found.lifecycle_stage,
            "created": found.creation_time,
            "updated": found.last_update_time,
            "tags": found.tags,
        }
        self.comparison.compare(EXPERIMENT, experiment.id, Item(source), Item(content))

    def _runs(self, planned: PlannedExperiment, target: str, step: Step) -> None:
        expected = {path.name: path for path in planned.runs}
        renamed: dict[str, Path] | None = None
        seen = set()
        for found in _pages(self.client, target):
            run_id = found.info.run_id
            if run_id not in self.done.targets[RUN]:
                continue  # the target's own
            if run_id not in expected and renamed is None:
                renamed = self._by_id(planned)
            path = expected.get(run_id) or (renamed or {}).get(run_id)
            if path is not None:
                seen.add(path.name)
                self._run(RunFolder(planned.experiment.id, path), found)
            step.advance()
        for name in expected.keys() & self.done.targets[RUN].keys() - seen:
            self.comparison.compare(RUN, name, Item({}), None)

    def _by_id(self, planned: PlannedExperiment) -> dict[str, Path]:
        """Return the folders whose name is not their run's id."""
        found = {}
        for path in planned.runs:
            if path.name not in self.done.targets[RUN]:
                run = read_run(RunFolder(planned.experiment.id, path), self.root, self.limits, Findings())
                if run is not None:
                    found[run.id] = path
        return found

    def _run(self, folder: RunFolder, found: "TargetRun") -> None:
        run = read_run(folder, self.root, self.limits, Findings())
        if run is None:
            return
        compare, own = self.comparison.compare, run.id
        compare(RUN, own, Item(_info(run)), Item(_target_info(found)))
        compare("param", own, run.params, found.data.params)
        compare("tag", own, run.tags, found.data.tags)
        source = {key: _shown(latest(points)) for key, points in run.metrics.items()}
        compare("metric", own, source, {key: _number(value) for key, value in found.data.metrics.items()})
        if zlib.crc32(own.encode()) % self.every == 0:
            for key, points in run.metrics.items():
                history = self.client.get_metric_history(own, key)
                written = {make_point(m.timestamp, m.value, m.step) for m in history}
                compare("metric point", f"{own}/{key}", _rows(points), _rows(written))
        self._artifacts(RUN, own)

    def _artifacts(self, kind: str, key: str) -> None:
        uri, digest = self.done.targets[kind][key], self.done.digests[kind][key]
        if (digest and not is_remote(uri)) or (self.store.folder is not None and uri.startswith(self.store.root)):
            held = digest_folder(self.store.path_of(uri))
            if digest or held.digest:
                self.comparison.compare("artifact folder", key, [digest], [held.digest] if held.digest else None)

    def _logged_model(self, path: Path) -> None:
        model = read_logged_model(path, self.root, self.limits, Findings())
        if model is None:
            return
        if model.lifecycle == "active":
            found = self.client.get_logged_model(model.id)
            source = {"name": model.name, "status": model.status, "params": model.params, "tags": model.tags}
            content = {"name": found.name, "status": str(found.status), "params": found.params, "tags": found.tags}
            self.comparison.compare(LOGGED_MODEL, model.id, Item(source), Item(content))
        self._artifacts(LOGGED_MODEL, model.id)

    def _model(self, model: Registered, name: str) -> None:
        found = self.client.get_registered_model(name)
        aliases = {alias: int(number) for alias, number in found.aliases.items() if alias != CHAMPION}
        kept = {alias: number for alias, number in model.aliases.items() if alias != CHAMPION}
        source = {"description": model.description or "", "tags": model.tags, "aliases": kept}
        content = {"description": found.description or "", "tags": found.tags, "aliases": aliases}
        self.comparison.compare(MODEL, name, Item(source), Item(content))
        champion, _ = model.old_champion()
        for version in model.versions:
            there = self.client.get_model_version(name, str(version.number))
            expected = {
                "stage": version.stage,
                "description": version.description or "",
                "run": version.run_id or "",
                "created": version.created,
                "tags": version.tags,
            }
            stored = {
                # The promoter keeps the stages of a model in step with its champion.
                "stage": there.current_stage if champion is None else version.stage,
                "description": there.description or "",
                "run": there.run_id or "",
                "created": there.creation_timestamp,
                "tags": {key: text for key, text in there.tags.items() if key in version.tags or key != TAG_BUNDLE},
            }
            self.comparison.compare("model version", f"{name}/{version.number}", Item(expected), Item(stored))
        if champion is not None:
            self.comparison.compare(
                "champion",
                name,
                [str(champion)],
                [str(found.aliases.get(CHAMPION))] if CHAMPION in found.aliases else None,
            )


def open_client(url: str) -> "MlflowClient":
    """Return MLflow's public client, on the database itself."""
    warnings.filterwarnings("ignore", module="mlflow|sqlalchemy")
    from mlflow import MlflowClient

    uri = sqlalchemy_url(url)
    return MlflowClient(uri, uri)


def _pages(client: "MlflowClient", experiment: str) -> Iterator["TargetRun"]:
    from mlflow.entities import ViewType

    token = None
    while True:
        page = client.search_runs([experiment], "", ViewType.ALL, PAGE, ["start_time ASC"], token)
        yield from page
        token = page.token
        if not token:
            return


def _info(run: Run) -> dict[str, Any]:
    return {
        "name": run.name or "",
        "user": run.user or "",
        "status": run.status,
        "start": run.start,
        "end": run.end,
        "lifecycle": run.lifecycle,
    }


def _target_info(found: "TargetRun") -> dict[str, Any]:
    info = found.info
    return {
        "name": info.run_name or "",
        "user": info.user_id or "",
        "status": info.status,
        "start": info.start_time,
        "end": info.end_time,
        "lifecycle": info.lifecycle_stage,
    }


def _shown(point: Point) -> float | str:
    return "nan" if point.is_nan else point.value


def _rows(points: Iterable[Point]) -> list[tuple[object, ...]]:
    return [tuple(point) for point in sorted(points)]


def _number(value: float) -> float | str:
    return "nan" if math.isnan(value) else value


def history_interval(runs: int, *, whole: bool) -> int:
    """Return how often a run's whole history is read back: one call per metric is dear on large stores."""
    return 1 if whole or runs <= 2_000 else max(1, runs // 1_000)
