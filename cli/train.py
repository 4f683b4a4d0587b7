"""`baton train`: publishing a train request, and following it to its end."""

import asyncio
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from cli import endpoints, output
from cli.following import Outcome, dumped, send
from cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from shared.bus import NatsBus
from shared.event import Event
from shared.events import RunFailed, RunFinished, TrainRequested


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command."""
    app.command()(train)


@dataclass
class TrainOutcome(Outcome):
    """How a train request ended: without a version, or with a decision on it."""

    finished: RunFinished | None = None
    failed: RunFailed | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will be said about the request."""
        return self.failed is not None or super().over

    @property
    def exit_code(self) -> int:
        """0 promoted, 1 failed or rejected by the predictors, 3 refused."""
        return output.FAILED if self.failed is not None else super().exit_code

    @property
    def missing(self) -> str:
        """What is waited for, and where to look when it does not come."""
        return "see `baton logs trainer`" if self.finished is None else super().missing

    @property
    def followed(self) -> list[str]:
        """The types of events to follow."""
        return [*super().followed, "run.*"]

    def take(self, event: Event) -> bool:
        """Note an event; return whether it is about this request."""
        match event:
            case RunFailed(request_id=self.request_id):
                self.failed = event
            case RunFinished(request_id=self.request_id):
                self.finished = event
        return super().take(event)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as the JSON that `--json` prints."""
        return super().as_dict() | dumped({"finished": self.finished, "failed": self.failed})


def train(
    dataset: Annotated[str, typer.Argument(help="A dataset's name, or a path under an allowed root.")],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="The recipe to train with.")] = "random-forest",
    model: Annotated[str | None, typer.Option("--model", "-m", help="The model's name; none: the dataset's.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict; none: the dataset's own.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="A recipe's parameter, name=value.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the request to its end.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait.")] = 600.0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Request a training; with --wait, show its progress and end with the decision (exit 3: refused)."""
    if not dataset or not recipe:
        raise typer.BadParameter("name a dataset and a recipe")
    request = TrainRequested(
        recipe=recipe,
        dataset=str(Path(dataset).absolute()) if Path(dataset).is_file() else dataset,
        target=target,
        params=dict(_parameter(text) for text in param or []),
        seed=seed,
        request_id=str(uuid.uuid4()),
    )
    name = model or Path(dataset).stem
    outcome = asyncio.run(_request(endpoints.find(data_dir), name, request, timeout if wait else None))
    if as_json:
        output.print_json(outcome.as_dict())
    elif not wait:
        output.out.print(f"requested {outcome.request_id}: follow it with `baton watch`")
    if wait:
        raise typer.Exit(outcome.exit_code)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not name=value", param_hint="--param")
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value  # a bare word is a string


async def _request(
    where: endpoints.Endpoints, model: str, request: TrainRequested, wait_s: float | None
) -> TrainOutcome:
    outcome = TrainOutcome(request.request_id or "")
    async with NatsBus(where.bus, "cli") as bus:
        await send(bus, model, request, outcome, wait_s)
    return outcome
