"""`baton ui --filestore mlruns`: MLflow's own pages over an old FileStore, for looking only."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.migrate.tree import open_source
from cli.ui.mirror import mirrored

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command."""
    app.command()(ui)


def ui(
    filestore: Annotated[Path, typer.Option("--filestore", help="The folder that MLflow calls mlruns.")],
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Where to answer, on 127.0.0.1.")] = 5001,
) -> None:
    """Show the runs and models of an old FileStore, read-only, until Ctrl-C."""
    root = open_source(filestore)
    shown = str(mirrored(root, Path(tempfile.mkdtemp(prefix="baton-ui-"))))
    environment = {
        **os.environ,
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "_MLFLOW_SERVER_FILE_STORE": shown,
        "_MLFLOW_SERVER_REGISTRY_STORE": shown,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": shown,
    }
    output.err.print(f"http://127.0.0.1:{port} shows {root}, read-only; Ctrl-C ends it", markup=False)
    command = [sys.executable, "-m", "uvicorn", "--factory", "cli.ui.read_only:make_app", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--log-level", "warning"]
    os.execve(sys.executable, command, environment)  # nosec B606 # noqa: S606 - MLflow's pages in place of this process
