"""`baton up` and `baton logs`: the stack on this machine."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli import output
from cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from compose.local import logs as log_files
from compose.local.child import Change
from compose.local.datadir import DataDir as StackDir
from compose.local.ports import parse_ports
from compose.local.settings import PORT_FIELDS, StackSettings
from compose.local.stack import Stack
from compose.local.state import State
from shared.settings import load

Ports = Annotated[list[str] | None, typer.Option("--port", help="service=N, N=0 for any free port.")]
MARKS = {"ready": "[green]✓[/]", "attached": "[green]✓[/]", "restarting": "[yellow]↻[/]"}


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command."""
    app.command()(up)
    app.command()(logs)


def stack_settings(data_dir: Path, ports: list[str] | None, **more: object) -> StackSettings:
    """Return the settings of a stack from the environment and the options of a verb."""
    try:
        chosen = parse_ports(ports or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--port") from error
    return load(StackSettings, data_dir=data_dir, **{PORT_FIELDS[name]: port for name, port in chosen.items()}, **more)


def up(data_dir: DataDir = DEFAULT_DATA_DIR, port: Ports = None, as_json: AsJson = False) -> None:
    """Start PostgreSQL, NATS, MLflow, trainer, promoter and predictor here, and keep them running until Ctrl-C."""
    asyncio.run(_up(stack_settings(data_dir, port), as_json=as_json))


async def _up(settings: StackSettings, *, as_json: bool) -> None:
    stop = stop_on_signals()
    with suppress(asyncio.CancelledError):
        async with Stack(settings, show_change).running() as state:
            if as_json:
                output.print_json({"data_dir": state.data_dir, "ready_s": state.ready_s, "urls": state.public_urls})
            else:
                output.out.print(url_table(state))
            output.err.print(f"ready after {state.ready_s:.1f} s; Ctrl-C stops the stack")
            await stop.wait()


def stop_on_signals() -> asyncio.Event:
    """Return an event that Ctrl-C, SIGTERM or a closed terminal sets; they also cancel the task that asked for it."""
    stop, loop, task = asyncio.Event(), asyncio.get_running_loop(), asyncio.current_task()

    def on_signal() -> None:
        if not stop.is_set() and task is not None:
            stop.set()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    return stop


def show_change(change: Change) -> None:
    """Print a change of a part on stderr, those that a user waits for."""
    if change.state in MARKS:
        detail = f" ({change.detail})" if change.detail else ""
        output.err.print(f"{MARKS[change.state]} {change.part:<10} {change.state} at {change.seconds:5.1f} s{detail}")


def url_table(state: State) -> Table:
    """Return where the parts of a stack answer."""
    table = Table("part", "address", box=None, header_style="bold")
    for part, url in state.public_urls.items():
        table.add_row(part, url)
    return table


def logs(
    service: Annotated[str | None, typer.Argument(help="One service; none: all.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines of each log.")] = 100,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Print the logs of the stack's services."""
    data = StackDir(data_dir.expanduser().resolve())
    chosen = log_files.select(data, service)

    def show(name: str, line: str) -> None:
        if as_json:
            return output.print_json({"service": name, "line": line})
        return output.out.print(line if service else f"{name:<10} {line}", markup=False)

    for name in chosen:
        for line in log_files.tail(data.log(name), lines):
            show(name, line)
    if follow:
        with suppress(KeyboardInterrupt):
            asyncio.run(_follow(data, chosen, show))


async def _follow(data: StackDir, chosen: list[str], show: Callable[[str, str], None]) -> None:
    async for name, line in log_files.follow(data, chosen):
        show(name, line)
