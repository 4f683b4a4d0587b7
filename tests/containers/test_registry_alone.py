"""`scripts/setup-postgresql-mlflow.sh` where a Docker engine answers: both in containers, and URLs that can be used."""

import subprocess
from contextlib import closing
from pathlib import Path

import httpx
import psycopg2
import pytest

from tests.containers.conftest import ROOT
from tests.containers.stack import Stack, service_of

pytestmark = pytest.mark.timeout(3600)


def test_the_printed_urls_can_be_used(tmp_path: Path) -> None:
    with Stack.cloned(ROOT, tmp_path / "baton", "alone", {}) as stack:
        script = str(stack.clone / "scripts" / "setup-postgresql-mlflow.sh")
        done = subprocess.run([script], env=stack.environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert {service_of(container) for container in stack.containers()} == {"postgres", "mlflow"}
        urls = dict(line.split(": ", 1) for line in done.stdout.splitlines())
        found = httpx.post(f"{urls['mlflow']}/api/2.0/mlflow/experiments/search", json={"max_results": 5})
        assert found.json()["experiments"][0]["name"] == "Default"
        with closing(psycopg2.connect(urls["postgres"])) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT name FROM experiments")
            assert cursor.fetchone() == ("Default",)
