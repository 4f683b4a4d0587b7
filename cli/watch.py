"""`baton watch`: every event as it happens."""

import asyncio
from datetime import datetime
from typing import Annotated

import typer
from nats.aio.msg import Msg

from cli import endpoints, output
from cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from cli.sentences import sentence
from shared.bus import NatsBus
from shared.errors import EventError
from shared.event import subject_token
from shared.events import CATALOGUE, parse


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command."""
    app.command()(watch)


def watch(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Print events live until Ctrl-C; with --json, one JSON object a line."""
    try:
        asyncio.run(_watch(endpoints.find(data_dir), model, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(output.DONE) from None


async def _watch(where: endpoints.Endpoints, model: str | None, *, as_json: bool) -> None:
    async def show(message: Msg) -> None:
        _print(message, as_json=as_json)

    async with NatsBus(where.bus, "cli") as bus:
        for event in CATALOGUE:
            await bus.client.subscribe(f"{event.type}.{subject_token(model) if model else '>'}", cb=show)
        await bus.client.flush()
        output.err.print("watching; Ctrl-C ends")
        await asyncio.Event().wait()


def _print(message: Msg, *, as_json: bool) -> None:
    kind = message.subject.rsplit(".", 1)[0]
    try:
        model, event = parse(message.subject, message.data)
    except EventError as error:
        return output.err.print(f"{message.subject}: {error}", markup=False)
    if as_json:
        return output.print_json({"type": kind, "model": model, "data": event.model_dump(mode="json")})
    clock = datetime.now().astimezone().strftime("%H:%M:%S")
    return output.out.print(f"{clock}  {kind:<20} {model:<18} {sentence(event)}", markup=False)
