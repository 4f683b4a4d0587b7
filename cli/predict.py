"""`baton predict` and `baton models`: asking a predictor over HTTP."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli import endpoints, output
from cli.asking import ask
from cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from shared.errors import BatonError
from shared.event import subject_token


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command."""
    app.command()(predict)
    app.command()(models)


def predict(
    rows: Annotated[str, typer.Argument(help="One JSON object or a list of them, a file of that, or - for stdin.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model; none: the predictor's default.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Ask the champion for a prediction."""
    path = f"/models/{subject_token(model)}/predict" if model else "/predict"
    answer = ask("predictor", endpoints.find(data_dir), "POST", path, _read(rows))
    if as_json:
        return output.print_json(answer)
    for row in answer.get("predictions", [answer]):
        chances = "  ".join(f"{name}: {chance:.3f}" for name, chance in (row.get("probabilities") or {}).items())
        output.out.print(f"{row['prediction']}  {chances}".rstrip())
    return output.err.print(f"answered by {answer['model']} version {answer['version']}")


def _read(rows: str) -> bytes:
    if rows == "-":
        return sys.stdin.buffer.read()
    if rows.lstrip().startswith(("{", "[")):
        return rows.encode()
    path = Path(rows)
    if not path.is_file():
        raise BatonError(f"{rows!r} is neither JSON nor a file: give an object, a list of objects, a file, or -")
    return path.read_bytes()


def models(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List the models that the predictor serves."""
    answer = ask("predictor", endpoints.find(data_dir), "GET", "/models")
    if as_json:
        return output.print_json(answer)
    table = Table("model", "version", "generation", "runtime", "since", box=None, header_style="bold")
    for found in answer["models"]:
        row = [found.get(name) for name in ("model", "version", "generation", "runtime", "since")]
        table.add_row(*("-" if value is None else str(value) for value in row))
    return output.out.print(table if answer["models"] else "no model is served yet: train one with `baton train`")
