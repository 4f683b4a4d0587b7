"""Verification of runs: what their folders say, against what MLflow's client says of them."""

import math
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cli.migrate.check import Check
from cli.migrate.comparison import Item
from cli.migrate.experiment import Dataset
from cli.migrate.findings import Findings
from cli.migrate.history import History
from cli.migrate.long_history import both_sides
from cli.migrate.metric import Point, latest, make_point
from cli.migrate.records import RUN
from cli.migrate.run import Run, read_run
from cli.migrate.tree import RunFolder

if TYPE_CHECKING:
    from mlflow.entities import Dataset as TargetDataset
    from mlflow.entities import Run as TargetRun


def compare_run(check: Check, folder: RunFolder, found: "TargetRun", datasets: dict[str, Dataset]) -> None:
    """Compare a run; `datasets` has its experiment's data sets by their folders."""
    run = read_run(folder, check.root, check.limits, Findings())
    if run is None:
        return
    compare, own = check.comparison.compare, run.id
    compare(RUN, own, Item(_info(run)), Item(_target_info(found)))
    compare("param", own, run.params, found.data.params)
    compare("tag", own, run.tags, found.data.tags)
    _compare_edges(check, run, found, datasets)
    _compare_metrics(check, run, found)
    check.artifacts(RUN, own)


def _compare_metrics(check: Check, run: Run, found: "TargetRun") -> None:
    whole, last = zlib.crc32(run.id.encode()) % check.every == 0, {}
    for key, history in run.metrics.items():
        point = _compare_history(check, run.id, key, history) if whole else _latest(history.pieces(Findings()))
        if point is not None:
            last[key] = "nan" if point.is_nan else point.value
    held = {key: "nan" if math.isnan(value) else value for key, value in found.data.metrics.items()}
    check.comparison.compare("metric", run.id, last, held)


def _latest(pieces: Iterable[list[Point]]) -> Point | None:
    points = [latest(piece) for piece in pieces]
    return latest(points) if points else None


def _compare_history(check: Check, run: str, key: str, history: History) -> Point | None:
    """Compare a metric's points and return the latest of the source."""
    pieces = history.pieces(Findings(), check.bounds.points)
    first, second = next(pieces, []), next(pieces, None)
    if second is not None:
        check.comparison.compare("metric point", f"{run}/{key}", *both_sides(check.connection, run, key, history))
        return _latest(history.pieces(Findings()))
    written = {make_point(m.timestamp, m.value, m.step) for m in check.client.get_metric_history(run, key)}
    check.comparison.compare("metric point", f"{run}/{key}", _rows(first), _rows(written))
    return latest(first) if first else None


def _compare_edges(check: Check, run: Run, found: "TargetRun", datasets: dict[str, Dataset]) -> None:
    """Compare what a run took and made: data sets, logged models."""
    named = {(item.kind, item.target): item for item in reversed(run.inputs)}.values()  # of two the first stands
    taken = [item for item in named if item.kind == "dataset" and item.target in datasets]
    models = [[item.target] for item in named if item.kind == "model_input"]
    source: dict[str, list[list[Any]]] = {
        "data set": [[*_described(datasets[item.target]), item.tags] for item in taken],
        "model input": models,
        "model output": [[item.target, item.step] for item in named if item.kind == "model_output"],
    }
    whole = check.client.get_run(run.id) if models else found  # a search leaves these inputs out
    inputs = found.inputs.dataset_inputs if found.inputs else []
    outputs = found.outputs.model_outputs if found.outputs else []
    target: dict[str, list[list[Any]]] = {
        "data set": [[*_described(i.dataset), {tag.key: tag.value for tag in i.tags}] for i in inputs],
        "model input": [[item.model_id] for item in (whole.inputs.model_inputs if whole.inputs else [])],
        "model output": [[output.model_id, output.step] for output in outputs],
    }
    for kind, items in source.items():
        if items or target[kind]:
            check.comparison.compare(kind, run.id, sorted(items, key=repr), sorted(target[kind], key=repr))


def _described(dataset: "Dataset | TargetDataset") -> list[str | None]:
    return [
        dataset.name, dataset.digest, dataset.source_type, dataset.source, dataset.schema, dataset.profile
    ]  # fmt: skip


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


def _rows(points: Iterable[Point]) -> list[tuple[object, ...]]:
    return [tuple(point) for point in sorted(points)]


def history_interval(runs: int, *, whole: bool) -> int:
    """Return how often a run's whole history is read back: one call per metric is dear on large stores."""
    return 1 if whole or runs <= 2_000 else max(1, runs // 1_000)
