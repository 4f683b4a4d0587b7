"""The layout of a FileStore, read from the data: which folder is an experiment, a run, a model, whatever made it.

```
mlruns/<experiment>/meta.yaml, tags/, <run>/{meta.yaml,params/,metrics/,tags/,inputs/,outputs/,artifacts/},
                    datasets/<id>/meta.yaml, models/<logged model>/..., traces/
mlruns/.trash/<experiment>/...
mlruns/models/<registered model>/{meta.yaml,tags/,aliases/,version-N/{meta.yaml,tags/}}
```
"""

import re
from dataclasses import dataclass
from pathlib import Path

from cli.migrate.findings import Findings
from cli.migrate.folders import printable, subfolders
from cli.migrate.links import REASON, is_led_outside, leads_outside
from shared.errors import BatonError

RUN_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,31}")
MODEL_ID = re.compile(r"[\w\-]{1,36}")
MADE_RUN_ID = re.compile(r"[0-9a-f]{32}")
META, TRASH, MODELS = "meta.yaml", ".trash", "models"
NOT_RUNS = {"tags", "datasets", "traces", MODELS, TRASH}
RUN_PARTS = ("params", "metrics", "tags", "artifacts", "inputs", "outputs")
VERSION = re.compile(r"version-(0|[1-9]\d{0,8})")


class SourceError(BatonError):
    """What was given as the source is no FileStore."""


@dataclass(frozen=True)
class ExperimentFolder:
    """An experiment's folder; `id` is the name of the folder."""

    id: str
    path: Path
    deleted: bool


@dataclass(frozen=True)
class RunFolder:
    """A run's folder; `experiment` is the source's id of the experiment it lies in."""

    experiment: str
    path: Path

    @property
    def name(self) -> str:
        """Return the folder's name, which is the run's id in a sound store."""
        return self.path.name


def open_source(path: Path) -> Path:
    """Return the root of a FileStore: the folder itself or the `mlruns` in it."""
    root = path.expanduser().resolve()
    if not root.is_dir():
        raise SourceError(f"{path} is no folder: give the path of your mlruns folder")
    if (root / "mlruns").is_dir():
        root /= "mlruns"
    if not any(name in {TRASH, MODELS} or _is_surely_experiment(root / name) for name in subfolders(root)):
        raise SourceError(f"{path} holds no experiments: give the folder that MLflow calls mlruns")
    return root


def relative(path: Path, root: Path) -> str:
    """Return a path below the source as it is shown."""
    return printable(str(path.relative_to(root)))


def experiment_folders(root: Path, findings: Findings) -> list[ExperimentFolder]:
    """Return the experiments, active ones first; other folders are named in the findings."""
    found = []
    for base, deleted in ((root, False), (root / TRASH, True)):
        for name in subfolders(base):
            path = base / name
            if name in {TRASH, MODELS}:
                continue
            if is_led_outside(path, root, relative(path, root), "experiment", findings):
                continue
            if (path / META).exists() or any(is_run(path / entry) for entry in subfolders(path)):
                found.append(ExperimentFolder(printable(name), path, deleted))
            else:
                reason = "neither an experiment's meta.yaml nor runs: nothing to migrate"
                findings.quarantined(relative(path, root), "experiment", reason)
    return sorted(found, key=lambda folder: (folder.deleted, len(folder.id), folder.id))


def _is_surely_experiment(path: Path) -> bool:
    """Tell whether a folder of any folder is an experiment's: by its meta.yaml, or a run that MLflow named."""
    named = (path / name for name in subfolders(path) if MADE_RUN_ID.fullmatch(name))
    return (path / META).exists() or any(map(is_run, named))


def is_run(path: Path) -> bool:
    """Tell whether a folder is a run's: by its meta.yaml, or by what lies in it."""
    if path.name in NOT_RUNS:
        return False
    return (path / META).exists() or any((path / part).is_dir() for part in RUN_PARTS)


def run_folders(experiment: ExperimentFolder, root: Path, findings: Findings) -> list[RunFolder]:
    """Return the folders of an experiment's runs."""
    found = []
    for name in subfolders(experiment.path):
        path = experiment.path / name
        if name in NOT_RUNS:
            continue
        if leads_outside(path, root):
            findings.quarantined(relative(path, root), "run", REASON)
        elif not is_run(path):
            findings.quarantined(relative(path, root), "run", "an empty folder: no meta.yaml, params, metrics or tags")
        else:
            found.append(RunFolder(experiment.id, path))
    return found


def logged_model_folders(experiment: ExperimentFolder) -> list[Path]:
    """Return the folders of an experiment's logged models."""
    return [experiment.path / MODELS / name for name in subfolders(experiment.path / MODELS)]


def registered_model_folders(root: Path) -> list[Path]:
    """Return the folders of the registered models."""
    return [root / MODELS / name for name in subfolders(root / MODELS)]


def version_folders(model: Path) -> list[tuple[int, Path]]:
    """Return the versions of a registered model with their numbers, in order."""
    found = [(VERSION.fullmatch(name), model / name) for name in subfolders(model)]
    return sorted((int(match[1]), path) for match, path in found if match)


def strange_folders(model: Path) -> list[str]:
    """Return the names of a registered model's folders that are neither versions nor anything else of it."""
    return [name for name in subfolders(model) if name not in {"tags", "aliases"} and not VERSION.fullmatch(name)]


def count_traces(experiment: ExperimentFolder) -> tuple[int, int]:
    """Return how many traces and assessments an experiment holds."""
    traces = experiment.path / "traces"
    names = subfolders(traces)
    return len(names), sum(len(list((traces / name / "assessments").glob("*.yaml"))) for name in names)
