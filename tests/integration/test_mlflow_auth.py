"""MLflow with basic auth, as its container starts it: who is let in, and who may do what."""

import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psycopg2
import pytest

from cli.backup.artifacts import Artifacts
from compose.make_secrets import make
from shared.errors import ForbiddenError
from shared.registry import Registry
from shared.settings import libpq_url, sqlalchemy_url
from tests.integration.kit import Versions, new_model
from tests.servers import answers, free_port, running, wait_for

ROOT = Path(__file__).parents[2]
SERVICES = ("postgres", "nats", "mlflow", "trainer", "promoter", "predictor", "client")
USERS = "/api/2.0/mlflow/users"
NAMED = "mlflow.example.com"

pytestmark = pytest.mark.timeout(300)  # MLflow starts, and migrates the database of its users


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    for service in SERVICES:
        (folder / service).mkdir()
    make(folder)
    return folder


@pytest.fixture(scope="module")
def guarded_mlflow(
    database_url: str, tracking_uri: str, secrets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run a second MLflow on the tests' registry, with users in a database of their own; yield its address."""
    folder, port, own = tmp_path_factory.mktemp("mlflow"), free_port(), f"auth_{uuid.uuid4().hex}"
    with closing(psycopg2.connect(libpq_url(database_url))) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {own}")
    users = sqlalchemy_url(database_url.rpartition("/")[0] + f"/{own}")
    (secrets / "mlflow" / "auth_database").chmod(0o644)
    (secrets / "mlflow" / "auth_database").write_text(users)
    environment = {file.name: file.read_text() for file in (secrets / "mlflow").glob("[A-Z]*")}
    environment |= {
        "MLFLOW_BACKEND_STORE_URI": sqlalchemy_url(database_url),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "BATON_MLFLOW_PORT": str(port),
        "BATON_MLFLOW_HOSTS": NAMED,
        "PYTHONDONTWRITEBYTECODE": "",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    options += ["--artifacts-destination", str(folder / "artifacts")]
    start = [sys.executable, str(ROOT / "compose" / "mlflow_server.py"), str(secrets / "mlflow")]
    with running([*start, "mlflow", "server", *options], folder / "mlflow.log", environment):
        wait_for(f"MLflow (see {folder})", answers(f"http://127.0.0.1:{port}/health"), deadline_s=200)
        yield f"http://127.0.0.1:{port}"


def become(monkeypatch: pytest.MonkeyPatch, secrets: Path, user: str) -> tuple[str, str]:
    """Have the variables of a service's container; return its name and password."""
    for file in (secrets / user).glob("MLFLOW_TRACKING_*"):
        monkeypatch.setenv(file.name, file.read_text())
    return user, (secrets / user / "MLFLOW_TRACKING_PASSWORD").read_text()


def test_strangers_are_told_what_to_set(guarded_mlflow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/", USERS + "/list", "/api/2.0/mlflow/registered-models/search"):
        assert httpx.get(guarded_mlflow + path, timeout=30).status_code == 401
    registry = Registry(guarded_mlflow)
    with pytest.raises(ForbiddenError, match="does not know this user or password: set MLFLOW_TRACKING_USERNAME"):
        registry.models()
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "trainer")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of somebody else")
    with pytest.raises(ForbiddenError, match="does not know this user or password") as refused:
        registry.models()
    assert "of somebody else" not in str(refused.value)


def test_its_own_pages_ask_it_under_the_names_that_were_said_and_nobody_else_s_do(
    guarded_mlflow: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, port = become(monkeypatch, secrets, "trainer"), httpx.URL(guarded_mlflow).port

    def asked(host: str, origin: str) -> httpx.Response:
        search, body = "/ajax-api/2.0/mlflow/experiments/search", {"max_results": 1}
        headers = {"Host": host, "Origin": origin}
        return httpx.post(f"{guarded_mlflow}{search}", json=body, headers=headers, auth=user, timeout=30)

    for host, origin in (
        (NAMED, f"https://{NAMED}"),
        (f"{NAMED}:{port}", f"http://{NAMED}:{port}"),
        (f"localhost:{port}", f"http://localhost:{port}"),
    ):
        assert asked(host, origin).status_code == 200, origin
    for stranger in (f"http://{NAMED}.evil.example", f"http://{NAMED}:{port}1", "https://evil.example"):
        answer = asked(NAMED, stranger)
        assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (403, None), stranger
    assert asked("evil.example", f"https://{NAMED}").status_code == 403


def test_who_asks_under_another_name_is_told(
    guarded_mlflow: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, secrets, "trainer")
    other = guarded_mlflow.replace("127.0.0.1", "127.1")  # the same address
    with pytest.raises(ForbiddenError, match=r"does not answer under this name: add it to BATON_MLFLOW_HOSTS"):
        Registry(other).models()


def test_trainer_and_promoter_may_do_their_work(
    guarded_mlflow: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = become(monkeypatch, secrets, "trainer")
    versions = Versions(guarded_mlflow, new_model())
    one, two, three = (versions.plain() for _ in range(3))
    versions.registry.tag(versions.model, one, "baton.note", "made")

    become(monkeypatch, secrets, "promoter")
    registry = Registry(guarded_mlflow)
    for version in (one, two):
        registry.promote(versions.model, version)
        registry.put_in_production(versions.model, version)
    champion = registry.champion(versions.model)
    assert champion is not None
    assert champion.version == two
    registry.delete_version(versions.model, three)
    assert [found.version for found in registry.versions(versions.model)] == [one, two]

    for user in (trainer, become(monkeypatch, secrets, "promoter")):
        body = {"username": "eve", "password": "long enough to be one"}
        assert httpx.post(f"{guarded_mlflow}{USERS}/create", json=body, auth=user, timeout=30).status_code == 403


def test_backup_takes_artifacts_puts_them_back_and_moves_no_alias(
    guarded_mlflow: str, secrets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    become(monkeypatch, secrets, "trainer")
    versions = Versions(guarded_mlflow, new_model())
    version = versions.plain()
    run_id = str(versions.client.get_model_version(versions.model, version).run_id)
    versions.client.log_text(run_id, "kept", "notes/why not.txt")

    become(monkeypatch, secrets, "backup")
    artifacts = Artifacts(guarded_mlflow)
    artifacts.export(tmp_path / "taken")
    (note,) = (tmp_path / "taken").rglob("why not.txt")
    assert note.read_text() == "kept"
    (tmp_path / "empty" / "999999" / run_id / "artifacts").mkdir(parents=True)
    note.rename(tmp_path / "empty" / "999999" / run_id / "artifacts" / note.name)  # of no experiment that there is yet
    artifacts.restore(tmp_path / "empty")
    artifacts.export(tmp_path / "again")
    assert len(list((tmp_path / "again").rglob("why not.txt"))) == 2
    with pytest.raises(ForbiddenError, match="does not let this user do that"):
        Registry(guarded_mlflow).promote(versions.model, version)


def test_a_trainer_deletes_nothing_that_others_made(
    guarded_mlflow: str, tracking_uri: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(tracking_uri, new_model())  # through the open server, so by nobody
    version = versions.plain()
    become(monkeypatch, secrets, "trainer")
    with pytest.raises(ForbiddenError, match="does not let this user do that"):
        Registry(guarded_mlflow).delete_version(versions.model, version)
    assert versions.registry.version(versions.model, version) is not None


def test_an_account_of_somebody_s_own_reads_and_moves_no_alias(
    guarded_mlflow: str, tracking_uri: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(tracking_uri, new_model())
    version = versions.plain()
    administrator = ("admin", (secrets / "mlflow" / "MLFLOW_AUTH_ADMIN_PASSWORD").read_text())
    body = {"username": "ann", "password": "long enough to be one"}
    made = httpx.post(f"{guarded_mlflow}{USERS}/create", json=body, auth=administrator, timeout=30)
    assert made.status_code == 200
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", body["username"])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", body["password"])
    registry = Registry(guarded_mlflow)
    assert versions.model in registry.models()
    with pytest.raises(ForbiddenError, match="does not let this user do that"):
        registry.promote(versions.model, version)
