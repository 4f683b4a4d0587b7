"""Rows for MLflow's tables, gathered and written by COPY in an order that foreign keys allow."""

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from cli.migrate.bounds import Bounds
from cli.migrate.findings import Findings
from cli.migrate.history import History
from cli.migrate.logged_model import NUMBERS, LoggedModel
from cli.migrate.metric import ModelPoint, latest
from cli.migrate.run import Run

COLUMNS = {
    "runs": "run_uuid name source_type source_name entry_point_name user_id status start_time end_time deleted_time "
    "source_version lifecycle_stage artifact_uri experiment_id",
    "params": "run_uuid key value",
    "tags": "run_uuid key value",
    "metrics": "run_uuid key value timestamp step is_nan",
    "latest_metrics": "run_uuid key value timestamp step is_nan",
    "inputs": "input_uuid source_type source_id destination_type destination_id step",
    "input_tags": "input_uuid name value",
    "logged_models": "model_id experiment_id name artifact_location creation_timestamp_ms last_updated_timestamp_ms "
    "status lifecycle_stage model_type source_run_id status_message",
    "logged_model_params": "model_id experiment_id param_key param_value",
    "logged_model_tags": "model_id experiment_id tag_key tag_value",
    "logged_model_metrics": "model_id metric_name metric_timestamp_ms metric_step metric_value experiment_id run_id "
    "dataset_name dataset_digest",
}
# A long history is read in pieces. A later piece may repeat points of an earlier one, so it goes through a table
# without a key, and PostgreSQL leaves out what is there. Points of a logged model always do: two of one run, step and
# time may differ in their value, and the first stands, wherever the pieces part.
LATER = {"later_metrics": "metrics", "later_logged_model_metrics": "logged_model_metrics"}
COLUMNS |= {later: COLUMNS[table] for later, table in LATER.items()} | {"source_metrics": COLUMNS["metrics"]}
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass
class Rows:
    """Rows waiting to be written; they are sent when they take much memory, committed by whoever owns the cursor.

    `written` counts, by table, the rows that were sent and not there yet.
    """

    cursor: Cursor
    bounds: Bounds = field(default_factory=Bounds)
    buffers: dict[str, list[str]] = field(default_factory=lambda: {table: [] for table in COLUMNS})
    chars: int = 0
    written: Counter[str] = field(default_factory=Counter)

    def add(self, table: str, *values: object) -> None:
        """Add a row, in the order of `COLUMNS`."""
        line = "\t".join(map(encode, values))
        self.buffers[table].append(line)
        self.chars += len(line)
        if self.chars > self.bounds.chars:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        for table, lines in self.buffers.items():
            if lines:
                self.written[LATER.get(table, table)] += self.send(table, lines)
                lines.clear()
        self.chars = 0

    def send(self, table: str, lines: list[str]) -> int:
        """Write rows and return how many were not there yet."""
        columns = COLUMNS[table].replace(" ", ", ")
        if table in LATER:
            self.cursor.execute(f"CREATE TEMP TABLE IF NOT EXISTS {table} (LIKE {LATER[table]}) ON COMMIT DROP")
        self.cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", io.StringIO("\n".join(lines) + "\n"))
        if table in LATER:
            chosen = f"SELECT {columns} FROM {table} ON CONFLICT DO NOTHING"  # nosec B608 # noqa: S608 - names of ours
            self.cursor.execute(f"INSERT INTO {LATER[table]} ({columns}) {chosen}")
            number = self.cursor.rowcount
            self.cursor.execute(f"TRUNCATE {table}")
            return number
        return len(lines)


def encode(value: object) -> str:
    """Return a value in the text format of COPY."""
    if value is None:
        return r"\N"
    if isinstance(value, str):
        return value.translate(ESCAPES)
    if isinstance(value, bool):
        return "t" if value else "f"
    return repr(value)


def add_run(rows: Rows, run: Run, experiment: int, artifact_uri: str, findings: Findings) -> None:
    """Add a run with its params, tags and metrics."""
    rows.add(
        "runs", run.id, run.name, run.source_type, run.source_name, run.entry_point, run.user, run.status, run.start,
        run.end, run.deleted_at, run.source_version, run.lifecycle, artifact_uri, experiment,
    )  # fmt: skip
    for key, value in run.params.items():
        rows.add("params", run.id, key, value)
    for key, value in run.tags.items():
        rows.add("tags", run.id, key, value)
    for key, history in run.metrics.items():
        _add_history(rows, run.id, key, history, findings)


def _add_history(rows: Rows, run: str, key: str, history: History, findings: Findings) -> None:
    table, last = "metrics", None
    for piece in history.pieces(findings, rows.bounds.points):
        for point in piece:
            rows.add(table, run, key, point.value, point.timestamp, point.step, point.is_nan)
        table = "later_metrics"
        last = latest(piece if last is None else [last, *piece])
    if last is not None:
        rows.add("latest_metrics", run, key, last.value, last.timestamp, last.step, last.is_nan)


@dataclass(frozen=True)
class Edge:
    """A row of MLflow's table `inputs`, which holds inputs and outputs of runs alike."""

    id: str
    source: tuple[str, str]
    destination: tuple[str, str]
    step: int = 0
    tags: Iterable[tuple[str, str]] = ()


def add_edges(rows: Rows, edges: Iterable[Edge]) -> None:
    """Add inputs and outputs of a run, each once."""
    seen = set()
    for edge in edges:
        if (edge.source, edge.destination) in seen:
            continue
        seen.add((edge.source, edge.destination))
        rows.add("inputs", edge.id, *edge.source, *edge.destination, edge.step)
        for name, value in edge.tags:
            rows.add("input_tags", edge.id, name, value)


def add_logged_model(rows: Rows, model: LoggedModel, experiment: int, location: str) -> None:
    """Add a logged model with its params and tags."""
    rows.add(
        "logged_models", model.id, experiment, model.name, location, model.created, model.updated,
        NUMBERS[model.status], model.lifecycle, model.model_type, model.source_run, model.status_message,
    )  # fmt: skip
    for key, value in model.params.items():
        rows.add("logged_model_params", model.id, experiment, key, value)
    for key, value in model.tags.items():
        rows.add("logged_model_tags", model.id, experiment, key, value)


def add_model_points(
    rows: Rows, model: LoggedModel, experiment: int, key: str, pieces: Iterable[list[ModelPoint]]
) -> None:
    """Add the history of a logged model's metric; of points of one run, step and time the first stands."""
    for piece in pieces:
        for point, run, dataset in piece:
            name, digest = dataset or (None, None)
            rows.add(
                "later_logged_model_metrics", model.id, key, point.timestamp, point.step, point.value, experiment, run,
                name, digest,
            )  # fmt: skip
