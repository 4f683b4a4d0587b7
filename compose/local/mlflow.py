"""MLflow's server on the stack's PostgreSQL, artifacts in the data directory and proxied."""

import sys

from compose.local.child import Child, environment
from compose.local.datadir import DataDir
from compose.local.ports import HOST
from compose.local.probes import answers
from shared.settings import sqlalchemy_url

REGISTRY_CALL = "api/2.0/mlflow/registered-models/search?max_results=1"


def mlflow_child(data: DataDir, port: int, database_url: str) -> Child:
    """Return the MLflow server of a data directory; its first start migrates the database: half a minute."""
    url = f"http://{HOST}:{port}"

    async def check() -> str | None:
        return await answers(f"{url}/health") or await answers(f"{url}/{REGISTRY_CALL}")

    return Child(
        name="mlflow",
        argv=(
            sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1",
            "--artifacts-destination", str(data.root / "artifacts"),
        ),
        env=environment(
            MLFLOW_BACKEND_STORE_URI=sqlalchemy_url(database_url),  # not an argument: it holds a password
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
            MLFLOW_DISABLE_TELEMETRY="true",
        ),
        check=check,
        after=("postgres",),
        ready_within_s=180.0,
    )  # fmt: skip
