"""Scoring: challenger and champion answer the same held-out rows, each from its own verified bundle."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from services.promoter.policy.confidence import Pair
from services.promoter.policy.policy import Task
from shared.bundle import Label, file_digest
from shared.bus import Bus
from shared.errors import ComparisonError
from shared.events import HoldoutRef
from shared.metrics import evaluate
from shared.registry import Registry
from shared.runtime import Prediction
from shared.verification import VerifiedModel, verify
from shared.versions import Version

TARGET_KEY = b"baton.target"  # metadata of the held-out parquet file that names the target column


@dataclass(frozen=True)
class Scores:
    """Metrics of both models on the challenger's held-out rows, and their answers row by row.

    `champion` and `pair` are None where there is no champion.
    """

    task: Task
    challenger: dict[str, float]
    champion: dict[str, float] | None
    rows: int
    pair: Pair | None = None


@dataclass(frozen=True)
class Holdout:
    """Held-out rows: one list per column, null as None, and the truth of each row."""

    columns: dict[str, list[object]]
    truth: list[Label]


class Scorer:
    """Fetches what a comparison needs and computes it in threads, off the event loop."""

    def __init__(self, bus: Bus, registry: Registry) -> None:
        self._bus = bus
        self._registry = registry

    async def score(self, challenger: Version, champion: Version | None) -> Scores:
        """Score both; raise `ComparisonError` or `BundleError` where they cannot be compared."""
        if challenger.holdout is None or challenger.run_id is None:
            raise ComparisonError(
                f"version {challenger.version} has no held-out rows to judge it on: promote it by hand"
            )
        with tempfile.TemporaryDirectory(prefix="baton-score-") as name:
            folder = Path(name)
            holdout = await asyncio.to_thread(self._holdout, challenger.run_id, challenger.holdout, folder)
            model = await self._model(challenger, folder / "challenger")
            opponent = await self._model(champion, folder / "champion") if champion else None
            seed = int(challenger.holdout.digest.removeprefix("sha256:")[:8], 16)
            return await asyncio.to_thread(compare, model, opponent, holdout, seed)

    def _holdout(self, run_id: str, ref: HoldoutRef, folder: Path) -> Holdout:
        path = self._registry.download(run_id, ref.artifact, folder)
        if file_digest(path.read_bytes()) != ref.digest.removeprefix("sha256:"):
            raise ComparisonError(f"the held-out rows of run {run_id} are not those it was registered with")
        return read_holdout(path)

    async def _model(self, version: Version, folder: Path) -> VerifiedModel:
        if version.bundle is None:
            raise ComparisonError(f"version {version.version} has no Baton bundle to score: promote by hand")
        await asyncio.to_thread(folder.mkdir)
        archive = folder / "bundle.tar"
        await self._bus.fetch_bundle(version.bundle, archive)
        return await asyncio.to_thread(verify, archive, folder / "model", version.bundle.digest)


def read_holdout(path: Path) -> Holdout:
    """Read held-out rows; the file's metadata names the target, else it is the last column."""
    table = pq.read_table(path)
    named = (table.schema.metadata or {}).get(TARGET_KEY)
    target = named.decode() if named else table.column_names[-1]
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return Holdout(columns, columns.pop(target))


def compare(challenger: VerifiedModel, champion: VerifiedModel | None, holdout: Holdout, seed: int) -> Scores:
    """Let both models answer the same rows; `seed` is for whatever draws from them."""
    output = challenger.manifest.output
    if champion is not None and champion.manifest.output.kind != output.kind:
        raise ComparisonError(f"the champion is a {champion.manifest.output.kind} model, the challenger is not")
    answer, metrics = score(challenger, holdout, "challenger")
    if champion is None:
        return Scores(output.kind, metrics, None, len(holdout.truth))
    opponent, opponent_metrics = score(champion, holdout, "champion")
    # Classes in another order, or others altogether, cannot be compared row by row.
    same_classes = champion.manifest.output == output
    pair = Pair(output, holdout.truth, answer, opponent, seed) if same_classes else None
    return Scores(output.kind, metrics, opponent_metrics, len(holdout.truth), pair)


def score(model: VerifiedModel, holdout: Holdout, whose: str) -> tuple[Prediction, dict[str, float]]:
    """Return a model's answers to held-out rows, and their metrics.

    Raise `ComparisonError` if the model's inputs or classes do not fit the rows.
    """
    try:
        columns = model.manifest.arrays(holdout.columns)
        answer = model.runtime.predict(columns)
        return answer, evaluate(model.manifest.output, holdout.truth, answer)
    except KeyError as error:
        raise ComparisonError(f"the {whose} needs {error}, which the challenger's held-out rows do not have") from error
    except (ValueError, TypeError) as error:
        raise ComparisonError(f"the {whose} does not fit the challenger's held-out rows: {error}") from error
