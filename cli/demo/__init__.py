"""`baton demo`: the main job from an empty directory to a hot-swapped champion, on a real stack."""

import asyncio
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.demo.report import Report
from cli.demo.story import MODEL, Story
from cli.journal import keeping_journal
from cli.options import AsJson
from cli.stack import Ports, show_change, stack_settings, stop_on_signals, url_table
from compose.local.settings import StackSettings
from compose.local.stack import Stack
from compose.local.state import State
from shared.bus import NatsBus
from shared.settings import BusSettings

POLICY = Path(__file__).with_name("promotion.yaml")


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command."""
    app.command()(demo)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where to keep the stack's data; none: a temporary directory.")
    ] = None,
    port: Ports = None,
    as_json: AsJson = False,
) -> None:
    """Start a stack, train, promote, hot-swap and predict under load, and show what happened."""
    with ExitStack() as cleaning:
        if data_dir is None:
            data_dir = Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="baton-demo-")))
            data_dir.chmod(0o711)  # started by root, PostgreSQL runs as nobody and must pass
        # A stack of its own: a part that the user runs elsewhere is none of the demo's business.
        own = {"database_url": None, "nats_url": None, "tracking_uri": None}
        settings = stack_settings(data_dir, port, port_fallback=True, **own)
        report = asyncio.run(_demo(settings, keep=keep, as_json=as_json))
    raise typer.Exit(output.FAILED if report.failed else output.DONE)


async def _demo(settings: StackSettings, *, keep: bool, as_json: bool) -> Report:
    began, report = time.monotonic(), Report()
    stop = stop_on_signals()
    output.err.print("[bold]starting the stack[/] (the first start migrates MLflow's database)")
    async with Stack(settings, show_change, {"BATON_POLICY_FILE": str(POLICY)}).running() as state:
        report.ready_s = round(state.ready_s, 2)
        await _tell(state, settings.predictor_workers, report)
        report.total_s = round(time.monotonic() - began, 2)
        _print(report, as_json=as_json)
        if keep:
            output.err.print(url_table(state))
            output.err.print(f"the stack keeps running; Ctrl-C stops it. Other verbs: --data-dir {state.data_dir}")
            with suppress(asyncio.CancelledError):
                await stop.wait()
        output.err.print("stopping the stack")
    return report


async def _tell(state: State, workers: int, report: Report) -> None:
    def say(line: str) -> None:
        output.err.print(line, markup=False)

    async with (
        NatsBus(BusSettings(nats_url=state.urls["nats"]), "demo") as bus,
        keeping_journal(bus, MODEL) as journal,
    ):
        await Story(bus, journal, state.urls["predictor"], workers, say).tell(state.urls["mlflow"], report)


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        output.print_json(report.as_dict())
    else:
        report.show(output.out)
