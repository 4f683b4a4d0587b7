"""The commands that people with the old project type: each runs, says what replaces it, and leads on."""

import importlib.util
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.integration.raw_filestore import experiment, run
from tests.servers import answers, free_port, running, wait_for

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
PORTS = ("POSTGRES", "MLFLOW", "NATS", "NATS_MONITOR", "PREDICTOR", "PROMOTER", "TRAINER")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("script", ["setup-postgresql-mlflow.sh", "setup_mlflow.sh", "start-mlflow.sh"])
def test_postgresql_and_mlflow_start_alone(script: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {f"BATON_{name}_PORT": "0" for name in PORTS}
    environment |= {"BATON_DATA_DIR": str(tmp_path / "data"), "BATON_NO_DOCKER": "1", "MLFLOW_TRACKING_URI": ""}
    with running([str(SCRIPTS / script)], log, environment):
        wait_for("both addresses", lambda: "\nmlflow: http" in log.read_text(), 150)
        lines = dict(line.split(": ", 1) for line in log.read_text().splitlines() if ": " in line)
        assert lines["postgres"].startswith("postgresql://")
        found = httpx.post(f"{lines['mlflow']}/api/2.0/mlflow/experiments/search", json={"max_results": 5})
        assert found.json()["experiments"][0]["name"] == "Default"
    assert ("deprecated" in log.read_text()) == (script != "setup-postgresql-mlflow.sh")


@pytest.mark.timeout(150)
def test_the_old_ui_shows_a_filestore_and_writes_nothing(tmp_path: Path) -> None:
    run(experiment(tmp_path / "mlruns", "1", "old times"))
    port, log = free_port(), tmp_path / "log"
    words = ["--filestore", str(tmp_path / "mlruns"), "--port", str(port)]
    with running([str(SCRIPTS / "start_mlflow_ui.sh"), *words], log):
        address = f"http://127.0.0.1:{port}"
        wait_for("MLflow's pages", answers(f"{address}/health"), 120)
        api = f"{address}/api/2.0/mlflow"
        found = httpx.post(f"{api}/runs/search", json={"experiment_ids": ["1"]}, timeout=30)
        assert found.json()["runs"][0]["info"]["run_name"] == "the name"
        refused = httpx.post(f"{api}/experiments/create", json={"name": "new"}, timeout=30)
        assert refused.status_code == 403
        assert "read-only" in refused.json()["message"]
    assert "deprecated" in log.read_text()


@pytest.mark.parametrize(
    ("words", "baton"),
    [
        (["--auto"], ["promote", "--auto"]),
        (["--list"], ["models"]),
        (["--cleanup", "heart"], ["cleanup", "heart", "--keep", "5"]),
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
