"""What Baton relies on of MLflow 3.17's registry, held against the real server."""

import uuid
from pathlib import Path

import pytest
from mlflow import MlflowClient

from shared.errors import RegistryError, UnreachableError
from shared.events import BundleRef, HoldoutRef
from shared.registry import Registry
from shared.versions import PRODUCTION, TAG_BUNDLE, TAG_HOLDOUT, TAG_REQUEST, Version

BUNDLE = BundleRef(object="sha256-1", digest="sha256:1", size=3)
HOLDOUT = HoldoutRef(artifact="holdout/rows.txt", digest="2", rows=4)


@pytest.fixture
def registry(tracking_uri: str) -> Registry:
    return Registry(tracking_uri)


@pytest.fixture
def client(tracking_uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri, tracking_uri)


@pytest.fixture
def model() -> str:
    return f"o'hara's model {uuid.uuid4()}"


def register(registry: Registry, client: MlflowClient, model: str, **tags: str) -> Version:
    run = client.create_run("0")
    source = f"{run.info.artifact_uri}/model"
    return registry.register(model, source=source, run_id=run.info.run_id, model_id=None, tags=tags)


def test_a_version_comes_back_as_it_was_registered(registry: Registry, client: MlflowClient, model: str) -> None:
    tags = {TAG_BUNDLE: BUNDLE.model_dump_json(), TAG_HOLDOUT: HOLDOUT.model_dump_json(), TAG_REQUEST: "it's r1"}
    made = register(registry, client, model, **tags)
    assert (made.version, made.bundle, made.holdout) == ("1", BUNDLE, HOLDOUT)
    assert registry.version(model, "1") == made
    assert registry.version_of_request(model, "it's r1") == made


def test_a_name_with_both_quotes_cannot_be_searched(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="rename it"):
        registry.newest_version("o'hara's \"best\" model")


def test_versions_count_up_and_the_newest_is_found(registry: Registry, client: MlflowClient, model: str) -> None:
    assert registry.newest_version(model) is None
    versions = [register(registry, client, model) for _ in range(11)]
    assert [made.version for made in versions] == [str(number) for number in range(1, 12)]
    assert registry.newest_version(model) == versions[-1]


def test_what_does_not_exist_is_none(registry: Registry, client: MlflowClient, model: str) -> None:
    assert registry.champion(model) is None
    assert registry.version(model, "1") is None
    assert registry.version_of_request(model, "r") is None
    register(registry, client, model)
    assert registry.champion(model) is None
    assert registry.version(model, "2") is None


def test_promotion_moves_the_alias(registry: Registry, client: MlflowClient, model: str) -> None:
    for _ in range(2):
        made = register(registry, client, model)
        registry.promote(model, made.version)
        assert registry.champion(model) == made


def test_what_mlflow_refuses_is_a_registry_error(registry: Registry, client: MlflowClient, model: str) -> None:
    register(registry, client, model)
    with pytest.raises(RegistryError, match="version 9"):
        registry.promote(model, "9")
    with pytest.raises(RegistryError, match="model name"):
        register(registry, client, "no/slashes:here")


def test_stages_can_be_set(registry: Registry, client: MlflowClient, model: str) -> None:
    made = register(registry, client, model)
    registry.put_in_production(model, made.version)
    found = registry.version(model, made.version)
    assert found is not None
    assert found.stage == PRODUCTION


def test_artifacts_and_metrics_of_a_run(registry: Registry, client: MlflowClient, tmp_path: Path) -> None:
    run = client.create_run("0").info.run_id
    file = tmp_path / "rows.txt"
    file.write_text("1,2")
    client.log_artifact(run, str(file), "holdout")
    client.log_metric(run, "roc_auc", 0.5)
    client.log_metric(run, "roc_auc", 0.75)
    (tmp_path / "here").mkdir()
    assert registry.download(run, "holdout/rows.txt", tmp_path / "here").read_text() == "1,2"
    assert registry.metrics(run) == {"roc_auc": 0.75}
    with pytest.raises(RegistryError, match="nothing"):
        registry.download(run, "nothing.txt", tmp_path / "here")


def test_an_mlflow_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(UnreachableError, match="did not answer within 1 s"):
        Registry("http://127.0.0.1:9", patience_s=1).champion("any")
