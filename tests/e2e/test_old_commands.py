"""The commands that people with the old project type: each runs, says what replaces it, and leads on."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import mlflow
import pytest

from cli.output import DONE, REFUSED
from tests.docker import compose
from tests.integration.raw_filestore import experiment, run
from tests.servers import answers, free_port, running, wait_for
from tests.stack import BATON, RunningStack, running_stack

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
COMPOSE = ["compose", "-f", "compose/compose.yaml", "-f", "compose/registry.yaml"]
DOCKER = """
import json, pathlib, sys
words = sys.argv[1:]
with pathlib.Path(__file__).with_name("calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
if words[-1] == "-":
    compile(sys.stdin.read(), "standard input", "exec")
answers = {"cat": "s3cret", "sh": "7", "5432": "127.0.0.1:40001", "5000": "127.0.0.1:40002"}
sys.stdout.writelines(f"{answer}\\n" for word, answer in answers.items() if word in words)
"""
PORTS = ("POSTGRES", "MLFLOW", "NATS", "NATS_MONITOR", "PREDICTOR", "PROMOTER", "TRAINER")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("script", ["setup-postgresql-mlflow.sh", "setup_mlflow.sh", "start-mlflow.sh"])
def test_postgresql_and_mlflow_start_alone(script: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {f"BATON_{name}_PORT": "0" for name in PORTS}
    environment |= {"BATON_DATA_DIR": str(tmp_path / "data"), "BATON_NO_DOCKER": "1", "MLFLOW_TRACKING_URI": ""}
    with running([str(SCRIPTS / script)], log, environment):
        wait_for("both addresses", lambda: "verified: " in log.read_text(), 150)
        lines = dict(line.split(": ", 1) for line in log.read_text().splitlines() if ": " in line)
        assert lines["postgres"].startswith("postgresql://")
        found = httpx.post(f"{lines['mlflow']}/api/2.0/mlflow/experiments/search", json={"max_results": 5})
        assert found.json()["experiments"][0]["name"] == "Default"
        assert "verified: both answer, and hold 1 experiment(s)" in log.read_text()
    assert ("deprecated" in log.read_text()) == (script != "setup-postgresql-mlflow.sh")


@pytest.mark.timeout(200)
def test_mlflow_starts_on_the_database_that_a_tracking_uri_names(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {f"BATON_{name}_PORT": "0" for name in PORTS}
    environment |= {"BATON_DATA_DIR": str(tmp_path / "data"), "MLFLOW_TRACKING_URI": database_url}
    with running([str(SCRIPTS / "setup-postgresql-mlflow.sh")], log, environment):
        wait_for("both addresses", lambda: "verified: " in log.read_text(), 150)
        assert f"postgres: {database_url}\n" in log.read_text()


@pytest.mark.skipif(compose() is None, reason="Docker Compose is not installed")
def test_with_docker_postgresql_answers_on_this_machine_too() -> None:
    command = ["docker", *COMPOSE, "config", "--format", "json"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, cwd=ROOT, timeout=60).stdout)
    postgres, mlflow_ = found["services"]["postgres"], found["services"]["mlflow"]
    (port,) = postgres["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "5432", 5432)
    assert postgres["image"].startswith("postgres:")
    assert postgres["environment"] == {"POSTGRES_PASSWORD_FILE": "/run/baton/superuser_password"}
    assert {"type": "volume", "source": "postgres", "target": "/var/lib/postgresql/data", "volume": {}} in postgres[
        "volumes"
    ]
    assert set(postgres["networks"]) == {"database", "outside"}
    assert mlflow_["ports"][0]["published"] == "5000"


def test_with_docker_it_asks_for_two_services_and_prints_where_they_answer(tmp_path: Path) -> None:
    """What is typed, to the word; whether an engine does it is for the tests of containers to see."""
    (tmp_path / "docker").write_text(f"#!{sys.executable}\n{DOCKER}")
    (tmp_path / "docker").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [SCRIPTS / "setup-postgresql-mlflow.sh"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "postgres: postgresql://mlflow:s3cret@127.0.0.1:40001/baton",
        "mlflow: http://127.0.0.1:40002",
        "verified: both answer, and hold 7 experiment(s)",
    ]
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    (question,) = (call.pop() for call in calls if "sh" in call)
    assert "PGPASSWORD=$(cat /run/baton/mlflow_password)" in question
    subprocess.run(["sh", "-n", "-c", question], check=True, timeout=10)
    assert calls == [
        ["info"],
        ["compose", "version"],
        [*COMPOSE, "up", "--detach", "--wait", "postgres", "mlflow"],
        [*COMPOSE, "exec", "-T", "postgres", "sh", "-c"],
        [*COMPOSE, "exec", "-T", "mlflow", "python", "-"],
        [*COMPOSE, "exec", "-T", "postgres", "cat", "/run/baton/mlflow_password"],
        [*COMPOSE, "port", "postgres", "5432"],
        [*COMPOSE, "port", "mlflow", "5000"],
    ]


def tree(root: Path) -> dict[str, tuple[int, bytes | None]]:
    """Return when everything below a folder was changed, and what its files hold."""
    paths = [root, *root.rglob("*")]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None) for path in paths}


@pytest.mark.timeout(150)
def test_the_old_ui_shows_a_filestore_and_writes_nothing(tmp_path: Path) -> None:
    run(experiment(tmp_path / "mlruns", "1", "old times"))
    before = tree(tmp_path / "mlruns")
    port, log = free_port(), tmp_path / "log"
    words = ["--filestore", str(tmp_path / "mlruns"), "--port", str(port)]
    (tmp_path / "temporary").mkdir()
    with running([str(SCRIPTS / "start_mlflow_ui.sh"), *words], log, {"TMPDIR": str(tmp_path / "temporary")}):
        address = f"http://127.0.0.1:{port}"
        wait_for("MLflow's pages", answers(f"{address}/health"), 120)
        api = f"{address}/api/2.0/mlflow"
        found = httpx.post(f"{api}/runs/search", json={"experiment_ids": ["1"]}, timeout=30)
        assert found.json()["runs"][0]["info"]["run_name"] == "the name"
        models = httpx.get(f"{api}/registered-models/search", timeout=30)
        assert (models.status_code, models.json()) == (200, {})
        deleted = httpx.post(f"{api}/experiments/search", json={"view_type": "ALL", "max_results": 9}, timeout=30)
        assert [each["name"] for each in deleted.json()["experiments"]] == ["old times"]
        refused = httpx.post(f"{api}/experiments/create", json={"name": "new"}, timeout=30)
        assert refused.status_code == 403
        assert "read-only" in refused.json()["message"]
    assert tree(tmp_path / "mlruns") == before
    assert not list((tmp_path / "temporary").glob("baton-ui-*"))
    assert "deprecated" in log.read_text()


@pytest.mark.parametrize(
    ("words", "baton"),
    [
        (["--auto"], ["promote", "--auto"]),
        (["--list"], ["models"]),
        (["--cleanup", "heart"], ["cleanup", "heart", "--keep", "5"]),
        (["--cleanup"], ["cleanup", "--all", "--keep", "5"]),
        (["--cleanup", "--dry-run"], ["cleanup", "--all", "--dry-run", "--keep", "5"]),
        (["heart"], ["promote", "heart"]),
        (["heart", "3"], ["promote", "heart", "3"]),
        ([], None),
        (["--unknown"], None),
    ],
)
def test_the_old_promotion_command_means_the_same(words: list[str], baton: list[str] | None) -> None:
    spec = importlib.util.spec_from_file_location("promote_model", SCRIPTS / "promote-model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.translated(words) == baton


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with running_stack(["up"], tmp_path_factory.mktemp("old") / "stack") as stack:
        yield stack


def promote_model(stack: RunningStack, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the old command as people do, who name MLflow's address."""
    environment = {**stack.environment, "BATON_DATA_DIR": str(stack.data_dir)}
    command = [str(SCRIPTS / "promote-model.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False, env=environment)


def versions(stack: RunningStack, model: str) -> dict[str, str]:
    client = mlflow.MlflowClient(stack.state.urls["mlflow"], stack.state.urls["mlflow"])
    return {str(v.version): str(v.current_stage) for v in client.search_model_versions(f"name = '{model}'")}


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # MLflow warns of stages
def test_the_old_promotion_commands_on_a_real_stack(stack: RunningStack) -> None:
    model, seeds = "heart-disease", range(1, 8)
    for seed in seeds:
        words = [
            "train",
            model,
            "--recipe",
            "random-forest",
            "--param",
            "n_estimators=2",
            "--seed",
            str(seed),
            "--wait",
        ]
        trained = stack.baton(*words, timeout=200)
        assert trained.returncode in {DONE, REFUSED}, trained.stderr
    promoted = promote_model(stack, model, "2")
    assert promoted.returncode == DONE, promoted.stderr
    assert versions(stack, model)["2"] == "Production"
    listed = promote_model(stack, "--list")
    assert listed.returncode == DONE, listed.stderr
    assert model in listed.stdout
    judged = promote_model(stack, "--auto")
    assert judged.returncode in {DONE, REFUSED}, judged.stderr
    best = promote_model(stack, model)
    assert best.returncode in {DONE, REFUSED}, best.stderr
    (champion,) = (number for number, stage in versions(stack, model).items() if stage == "Production")
    planned = promote_model(stack, "--cleanup", "--dry-run")
    assert planned.returncode == DONE, planned.stderr
    assert "would be deleted" in planned.stdout
    cleaned = promote_model(stack, "--cleanup")
    assert cleaned.returncode == DONE, cleaned.stderr
    assert len(versions(stack, model)) < len(seeds)
    assert versions(stack, model)[champion] == "Production"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("part", ["mlflow", "postgres"])
def test_a_migration_goes_where_the_tracking_uri_says(part: str, stack: RunningStack, tmp_path: Path) -> None:
    run(experiment(tmp_path / "mlruns", "1", f"by {part}"))
    environment = {**os.environ, "BATON_DATA_DIR": str(stack.data_dir), "MLFLOW_TRACKING_URI": stack.state.urls[part]}
    command = [BATON, "migrate", str(tmp_path / "mlruns"), "--no-backup", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False, env=environment)
    assert done.returncode == DONE, done.stderr
    client = mlflow.MlflowClient(stack.state.urls["mlflow"])
    found = client.get_experiment_by_name(f"by {part}")
    assert found is not None
    (migrated,) = client.search_runs([found.experiment_id])
    assert [each.path for each in client.list_artifacts(migrated.info.run_id)] == ["note.txt"]


def test_the_old_promotion_command_leads_on() -> None:
    nowhere = {f"BATON_{part}_URL": "http://127.0.0.1:1" for part in ("PREDICTOR", "PROMOTER")}
    done = subprocess.run(
        [SCRIPTS / "promote-model.py", "--list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **nowhere},
    )
    assert done.returncode == 4, done.stderr
    assert "promote-model.py is deprecated: baton models" in done.stderr
