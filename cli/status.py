"""`baton status`: who serves what, how far behind, and what waits for whom."""

from collections.abc import Iterator
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from cli import endpoints, output
from cli.asking import ask
from cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from cli.records import local_time

MARKS = {"serving": "[green]serving[/]", "lost": "[red]lost[/]"}


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command."""
    app.command()(status)


def status(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Show each predictor's workers with their lag, and what waits to be published or approved."""
    answer = ask("promoter", endpoints.find(data_dir), "GET", "/status")
    if as_json:
        return output.print_json(answer)
    output.out.print(worker_table(answer["workers"]) if answer["workers"] else "no predictor was heard")
    output.out.print()
    output.out.print(model_table(answer["models"]) if answer["models"] else "no model ever had a champion")
    for line in waiting(answer["models"]):
        output.out.print(line, markup=False)
    return None


def worker_table(workers: list[dict[str, Any]]) -> Table:
    """Return a line for each worker and model; the lag counts generations."""
    table = Table("predictor", "worker", "state", "heard", "model", "version", "gen", "lag", box=None)
    table.header_style = "bold"
    for worker in workers:
        name = (escape(worker["predictor"]), str(worker["worker"]))
        first = (*name, MARKS[worker["state"]], f"{worker['heard_s_ago']:.0f} s ago")
        for model, served in sorted(worker["models"].items()) or [("-", {})]:
            shown = model if served.get("loaded", True) else f"{model} (not loaded)"
            cells = ("-" if served.get(key) is None else str(served[key]) for key in ("version", "generation", "lag"))
            table.add_row(*first, escape(shown), *cells)
    return table


def model_table(models: list[dict[str, Any]]) -> Table:
    """Return a line for each model."""
    table = Table("model", "champion", "gen", "unpublished", "awaiting", "frozen by", box=None, header_style="bold")
    for model in models:
        unpublished = (model["unpublished"] or {}).get("changes", 0)
        awaiting = ", ".join(found["version"] for found in model["awaiting"]) or "-"
        frozen = escape(model["frozen_by"] or "unknown") if model["frozen"] else "-"
        champion, generation = model["champion"] or "none", str(model["generation"])
        table.add_row(escape(model["model"]), champion, generation, str(unpublished), awaiting, frozen)
    return table


def waiting(models: list[dict[str, Any]]) -> Iterator[str]:
    """Say what waits, for what, and since when."""
    for model in models:
        name = model["model"]
        if model["unpublished"]:
            for_what = model["unpublished"]["waiting"] or "to be published"
            yield f"{name}: since {local_time(model['unpublished']['since'])} a change waits: {for_what}"
        if model["frozen"]:
            yield f"{name}: frozen ({model['frozen_reason']}); `baton unfreeze {name}` ends it"
        for found in model["awaiting"]:
            yield f"{name}: version {found['version']} awaits `baton approve {name}`: {found['reason']}"
