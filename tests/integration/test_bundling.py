"""Models that a notebook registered with MLflow alone: bundled, relayed, loadable; or rejected with a sentence."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shared.bus import NatsBus
from shared.events import ModelPromoted, ModelRejected, PromotionDecided, PromotionRequested
from shared.runtime import NO_PYFUNC
from shared.verification import VerifiedModel, verify
from shared.versions import TAG_BUNDLE, TAG_GOLDEN
from tests.integration.kit import Versions, listening_to, new_model, promoter
from tests.integration.predictors import Predictor, predictor_process
from tests.servers import free_port, wait_for

RANDOM = np.random.default_rng(0)
TABLE = pd.DataFrame({"age": RANDOM.normal(50, 9, 200), "visits": RANDOM.integers(0, 9, 200), "city": ["a", "b"] * 100})
LABELS = np.where(TABLE["age"] > 50, "ill", "well")


@pytest.fixture
async def app(database_url: str, tracking_uri: str, nats_url: str, bus: NatsBus) -> AsyncIterator[FastAPI]:
    async with promoter(database_url, tracking_uri, nats_url) as running:
        yield running


class Notebook:
    """What a person does in a notebook, with MLflow's own functions only."""

    def __init__(self, tracking_uri: str, bus: NatsBus, folder: Path) -> None:
        mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_experiment("notebook")
        self.model = new_model()
        self.client = mlflow.MlflowClient()
        self.bus = bus
        self.folder = folder

    @pytest.mark.filterwarnings("ignore")
    def log(self, estimator: Any, artifact: Path | None = None, **options: Any) -> str:
        with mlflow.start_run():
            if artifact is not None:
                mlflow.log_artifact(str(artifact), "golden")
            info = mlflow.sklearn.log_model(
                estimator, name="model", registered_model_name=self.model, pip_requirements=["scikit-learn"], **options
            )
        return str(info.registered_model_version)

    def promote(self, version: str) -> None:
        self.client.set_registered_model_alias(self.model, "champion", version)

    async def promoted(self, version: str) -> ModelPromoted:
        await asyncio.to_thread(self.promote, version)
        return await self.relayed(version)

    async def relayed(self, version: str) -> ModelPromoted:
        event = await self._said(ModelPromoted, version)
        assert isinstance(event, ModelPromoted)
        return event

    async def asked_for(self, version: str) -> PromotionDecided:
        """Ask the promoter instead of MLflow."""
        async with listening_to(self.bus, self.model, PromotionDecided) as ear:
            await self.bus.publish(PromotionRequested(version=version, actor="ann"), self.model)
            decided = await asyncio.wait_for(ear.next(), 60)
        assert isinstance(decided, PromotionDecided)
        return decided

    async def rejected(self, version: str) -> ModelRejected:
        await asyncio.to_thread(self.promote, version)
        event = await self._said(ModelRejected, version)
        assert isinstance(event, ModelRejected)
        return event

    async def _said(self, kind: type[ModelPromoted | ModelRejected], version: str) -> ModelPromoted | ModelRejected:
        """Wait for what is said of the version; the other thing must not be said."""
        async with asyncio.timeout(60):
            while True:
                for each in (ModelPromoted, ModelRejected):
                    found = await self.bus.last(each, self.model)
                    if found and isinstance(found[1], each) and found[1].version == version:
                        assert each is kind, found[1]
                        return found[1]
                await asyncio.sleep(0.05)

    async def verified(self, promoted: ModelPromoted) -> VerifiedModel:
        archive = self.folder / f"{promoted.version}.tar"
        await self.bus.fetch_bundle(promoted.bundle, archive)
        return await asyncio.to_thread(verify, archive, self.folder / promoted.version, promoted.bundle.digest)


@pytest.fixture
def notebook(tracking_uri: str, bus: NatsBus, tmp_path: Path) -> Notebook:
    return Notebook(tracking_uri, bus, tmp_path)


def pipeline() -> Any:
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]), (StandardScaler(), ["age", "visits"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(TABLE, LABELS)


def expected(estimator: Any, verified: VerifiedModel, rows: pd.DataFrame) -> None:
    columns = verified.manifest.arrays({str(name): rows[name].tolist() for name in rows})
    assert verified.runtime.predict(columns).values == estimator.predict(rows).tolist()


@pytest.mark.filterwarnings("ignore")
async def test_a_plain_notebook_model_is_bundled_then_promoted(app: FastAPI, notebook: Notebook) -> None:
    estimator = pipeline()
    version = notebook.log(estimator, input_example=TABLE.head(5))
    promoted = await notebook.promoted(version)
    assert (promoted.actor, promoted.generation) == ("unknown (MLflow)", 1)
    tags = notebook.client.get_model_version(notebook.model, version).tags
    assert tags[TAG_BUNDLE] == promoted.bundle.model_dump_json()
    verified = await notebook.verified(promoted)
    assert verified.manifest.runtime == "sklearn"
    assert "5 rows are too few" in verified.manifest.runtime_reason
    assert [(column.name, column.type) for column in verified.manifest.inputs] == [
        ("age", "double"), ("visits", "long"), ("city", "string"),
    ]  # fmt: skip
    expected(estimator, verified, TABLE)


@pytest.mark.filterwarnings("ignore")
async def test_with_enough_rows_it_is_compiled(app: FastAPI, notebook: Notebook) -> None:
    estimator = pipeline()
    promoted = await notebook.promoted(notebook.log(estimator, input_example=TABLE))
    verified = await notebook.verified(promoted)
    assert verified.manifest.runtime == "onnx", verified.manifest.runtime_reason
    expected(estimator, verified, TABLE)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
@pytest.mark.filterwarnings("ignore")
async def test_golden_rows_from_data_that_a_tag_names(app: FastAPI, notebook: Notebook, suffix: str) -> None:
    rows = TABLE.assign(target=LABELS)
    file = notebook.folder / f"rows.{suffix}"
    write: dict[str, Callable[[], Any]] = {
        "csv": lambda: rows.to_csv(file, index=False),
        "parquet": lambda: rows.to_parquet(file),
        "json": lambda: rows.to_json(file, orient="records"),
    }
    write[suffix]()
    estimator = pipeline()
    version = notebook.log(estimator, artifact=file)
    notebook.client.set_model_version_tag(notebook.model, version, TAG_GOLDEN, f"golden/rows.{suffix}")
    expected(estimator, await notebook.verified(await notebook.promoted(version)), TABLE)


@pytest.mark.filterwarnings("ignore")
async def test_a_model_fitted_on_an_array(app: FastAPI, notebook: Notebook) -> None:
    rows = TABLE[["age", "visits"]].to_numpy()
    estimator = LinearRegression().fit(rows, rows[:, 0] * 2)
    promoted = await notebook.promoted(notebook.log(estimator, input_example=rows[:3]))
    verified = await notebook.verified(promoted)
    assert [(column.name, column.type) for column in verified.manifest.inputs] == [("x0", "double"), ("x1", "double")]
    answer = verified.runtime.predict(verified.manifest.arrays({"x0": [1.0], "x1": [2.0]}))
    assert answer.values == pytest.approx([2.0])


@pytest.mark.filterwarnings("ignore")
async def test_what_cannot_be_bundled_is_rejected_and_the_relay_moves_on(app: FastAPI, notebook: Notebook) -> None:
    estimator = pipeline()
    bare = notebook.log(estimator)
    rejected = await notebook.rejected(bare)
    assert (rejected.predictor, rejected.check, rejected.generation) == ("promoter", "golden", 1)
    assert rejected.message == (
        f"version {bare} cannot be bundled: it has no input example to take golden answers from: log it with "
        "`input_example=`, or name an artifact of its run with rows (csv, parquet or json) in the version's tag "
        "`baton.golden`"
    )
    notebook.client.set_model_version_tag(notebook.model, bare, TAG_GOLDEN, "golden/none.csv")
    good = notebook.log(estimator, input_example=TABLE.head(5))
    assert (await notebook.promoted(good)).generation == 2
    run = notebook.client.get_model_version(notebook.model, bare).run_id
    decided = await notebook.asked_for(bare)
    assert decided.reason == (
        f"version {bare} cannot be bundled: MLflow has no artifact golden/none.csv of run {run}, which its tag "
        "baton.golden names"
    )


@pytest.mark.filterwarnings("ignore")
async def test_promotion_by_hand_bundles_first(app: FastAPI, notebook: Notebook) -> None:
    good, bare = notebook.log(pipeline(), input_example=TABLE.head(5)), notebook.log(pipeline())
    decided = await notebook.asked_for(good)
    assert decided.verdict == "promoted", decided.reason
    assert (await notebook.relayed(good)).actor == "ann"
    refused = await notebook.asked_for(bare)
    assert refused.verdict == "refused"
    assert refused.reason.startswith(f"version {bare} cannot be bundled: it has no input example")


@pytest.mark.filterwarnings("ignore")
async def test_a_pickle_is_not_opened(app: FastAPI, notebook: Notebook) -> None:
    forest = RandomForestClassifier(n_estimators=3).fit(TABLE[["age", "visits"]], LABELS)
    version = notebook.log(forest, input_example=TABLE[["age", "visits"]], serialization_format="cloudpickle")
    rejected = await notebook.rejected(version)
    assert rejected.check == "load"
    assert rejected.message == (
        f"version {version} cannot be bundled: model.pkl is a pickle, which is code: log the model with "
        "`serialization_format='skops'`; BATON_ALLOW_PYFUNC=true would let models be opened that are code"
    )


@pytest.fixture
async def allowing(database_url: str, tracking_uri: str, nats_url: str, bus: NatsBus) -> AsyncIterator[FastAPI]:
    async with promoter(database_url, tracking_uri, nats_url, allow_pyfunc=True) as running:
        yield running


@pytest.mark.filterwarnings("ignore")
async def test_where_it_is_allowed_a_pickle_becomes_an_ordinary_bundle(allowing: FastAPI, notebook: Notebook) -> None:
    rows = TABLE[["age", "visits"]]
    forest = RandomForestClassifier(n_estimators=3).fit(rows, LABELS)
    promoted = await notebook.promoted(notebook.log(forest, input_example=rows, serialization_format="cloudpickle"))
    verified = await notebook.verified(promoted)
    assert verified.manifest.runtime in ("onnx", "sklearn")
    expected(forest, verified, rows)


def first_answer(predictor: Predictor, model: str, row: dict[str, Any]) -> Any:
    answered: list[Any] = []

    def is_served() -> bool:
        answer = predictor.predict(model, row)
        answered.append(answer.json())
        return answer.status_code == 200

    wait_for("the model to be served", is_served, 120)
    return answered[-1]


OWN_MODEL = """
from pathlib import Path
import mlflow

class Multiplied(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["age"] * float(Path(context.artifacts["factor"]).read_text())

mlflow.models.set_model(Multiplied())
"""


@pytest.mark.timeout(300)  # MLflow is imported by the test, the child and two workers, one after the other
@pytest.mark.filterwarnings("ignore")
async def test_another_flavor_is_served_where_promoter_and_predictor_allow_it(
    allowing: FastAPI, notebook: Notebook, bus: NatsBus, nats_url: str
) -> None:
    (notebook.folder / "factor").write_text("2")
    (notebook.folder / "own_model.py").write_text(OWN_MODEL)
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="model", python_model=str(notebook.folder / "own_model.py"),
            artifacts={"factor": str(notebook.folder / "factor")},
            input_example=TABLE[["age"]].head(3), registered_model_name=notebook.model, pip_requirements=["mlflow"],
        )  # fmt: skip
    allowed, plain = notebook.folder / "allowed", notebook.folder / "plain"
    allowed.mkdir()
    plain.mkdir()
    with (
        predictor_process(nats_url, allowed, BATON_ALLOW_PYFUNC="true") as serving,
        predictor_process(nats_url, plain) as refusing,
    ):
        promoted = await notebook.promoted(str(info.registered_model_version))
        answer = await asyncio.to_thread(first_answer, serving, notebook.model, {"age": 21.0})
        assert answer == {"model": notebook.model, "version": promoted.version, "prediction": 42.0}
        async with asyncio.timeout(30):
            found = None
            while not found:
                found = await bus.last(ModelRejected, notebook.model)
                await asyncio.sleep(0.05)
        assert isinstance(found[1], ModelRejected)
        assert (found[1].predictor, found[1].check, found[1].message) == (refusing.name, "load", NO_PYFUNC)


@asynccontextmanager
async def forwarding(port: int, target: str) -> AsyncIterator[None]:
    """Let a port answer as a server elsewhere does."""
    host, to = target.removeprefix("http://").split(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(host, int(to))
        await asyncio.gather(pump(reader, downstream), pump(upstream, writer), return_exceptions=True)

    async with await asyncio.start_server(connect, "127.0.0.1", port):
        yield


@pytest.mark.filterwarnings("ignore")
async def test_while_mlflow_is_away_a_model_waits_and_no_other_does(
    database_url: str, tracking_uri: str, nats_url: str, bus: NatsBus, notebook: Notebook
) -> None:
    port, other = free_port(), Versions(tracking_uri, new_model())
    version, bundled = notebook.log(pipeline(), input_example=TABLE.head(5)), other.plain()
    async with promoter(database_url, f"http://127.0.0.1:{port}", nats_url) as app:
        await asyncio.to_thread(notebook.promote, version)
        async with asyncio.timeout(20):
            while not (waits := await waiting(app, notebook.model)):
                await asyncio.sleep(0.02)
        assert (waits["changes"], waits["waiting"]) == (1, f"version {version} is being bundled")
        await asyncio.to_thread(other.client.set_registered_model_alias, other.model, "champion", bundled)
        async with asyncio.timeout(20):
            while not await bus.last(ModelPromoted, other.model):
                await asyncio.sleep(0.02)
        assert await waiting(app, notebook.model)
        async with forwarding(port, tracking_uri):
            await notebook.relayed(version)
        async with asyncio.timeout(20):
            while await waiting(app, notebook.model):
                await asyncio.sleep(0.02)


async def waiting(app: FastAPI, model: str) -> dict[str, Any] | None:
    """Return what the promoter says a model waits for, once it says so."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        found = [row for row in (await client.get("/relay")).json() if row["model"] == model and row["waiting"]]
    return found[0] if found else None
