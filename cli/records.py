"""`baton history` and `baton audit`: what was in production when, and why."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cli import endpoints, output
from cli.asking import ask
from cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from cli.sentences import metrics
from shared.event import subject_token


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command."""
    app.command()(history)
    app.command()(audit)


def history(
    model: Annotated[str, typer.Argument(help="The model's name in MLflow.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many changes, newest first.")] = 100,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show every change of a model's champion: who, when, why, both models' metrics, how long each served."""
    path = f"/models/{subject_token(model)}/history"
    changes: list[dict[str, Any]] = ask("promoter", endpoints.find(data_dir), "GET", path, limit=limit)
    if as_json:
        return output.print_json({"model": model, "changes": changes})
    table = Table("gen", "version", "since", "served", "by", "why", "metrics", "of the one before", box=None)
    table.header_style = "bold"
    for change in changes:
        cells = (
            str(change["generation"]),
            change["version"] or "none",
            local_time(change["committed_at"]),
            duration(change["served_s"]),
            change["actor"],
            change["reason"],
            metrics(change["challenger_metrics"] or {}),
            metrics(change["champion_metrics"] or {}),
        )
        table.add_row(*map(escape, cells))
    return output.out.print(table)


def audit(
    at: Annotated[str, typer.Option("--at", help="ISO 8601, such as 2026-05-01T12:00Z; no zone: this computer's.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show what was champion of each model at an instant, and why."""
    instant = read_instant(at)
    answer = ask("promoter", endpoints.find(data_dir), "GET", "/audit", at=instant.isoformat())
    if as_json:
        return output.print_json(answer)
    if not answer["models"]:
        return output.out.print(f"no model had a champion by {local_time(answer['at'])}")
    table = Table("model", "champion", "gen", "since", "until", "by", "why", box=None, header_style="bold")
    for found in answer["models"]:
        cells = (
            found["model"],
            found["version"] or "none",
            str(found["generation"]),
            local_time(found["since"]),
            local_time(found["until"]) if found["until"] else "now",
            found["actor"],
            found["reason"],
        )
        table.add_row(*map(escape, cells))
    return output.out.print(table)


def read_instant(text: str) -> datetime:
    """Read an instant in ISO 8601; without a zone it is this computer's local time."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no instant: write it as 2026-05-01T12:00Z, 2026-05-01T14:00+02:00, or without a zone"
        raise typer.BadParameter(message, param_hint="--at") from error


def local_time(instant: str) -> str:
    """Return an instant as this computer's clock shows it."""
    return datetime.fromisoformat(instant).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """Return a time span to the second, `-` where nothing was served."""
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))
