"""`baton train`: publishing a train request, and following it to its end."""

import asyncio
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from cli import endpoints, output
from cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from cli.sentences import sentence
from shared.bus import NatsBus
from shared.errors import BatonError, UnreachableError
from shared.event import Event, Stream
from shared.events import ModelRejected, ModelServing, PromotionDecided, RunFailed, RunFinished, TrainRequested
from shared.follow import follow, last_sequence


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command."""
    app.command()(train)


@dataclass
class Outcome:
    """How a train request ended."""

    request_id: str
    finished: RunFinished | None = None
    failed: RunFailed | None = None
    decided: PromotionDecided | None = None
    rejected: ModelRejected | None = None
    serving: list[ModelServing] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether nothing more will be said about the request."""
        if self.decided is not None and self.decided.verdict == "promoted":
            return bool(self.serving) or self.rejected is not None
        return self.failed is not None or self.decided is not None

    @property
    def exit_code(self) -> int:
        """0 promoted, 1 failed or rejected by the predictors, 3 refused."""
        if self.failed is not None or self.rejected is not None:
            return output.FAILED
        return output.DONE if self.decided is not None and self.decided.verdict == "promoted" else output.REFUSED

    def take(self, event: Event) -> bool:
        """Note an event; return whether it is about this request."""
        match event:
            case RunFailed(request_id=self.request_id):
                self.failed = event
            case RunFinished(request_id=self.request_id):
                self.finished = event
            case PromotionDecided(request_id=self.request_id):
                self.decided = event
            case ModelServing() if self.finished is not None and event.version == self.finished.version:
                self.serving.append(event)
            case ModelRejected() if self.finished is not None and event.version == self.finished.version:
                self.rejected = event
            case _:
                return getattr(event, "request_id", None) == self.request_id
        return True

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as the JSON that `--json` prints."""
        events = {"finished": self.finished, "failed": self.failed, "decided": self.decided, "rejected": self.rejected}
        return {"request_id": self.request_id} | {
            name: event.model_dump(mode="json") for name, event in events.items() if event is not None
        }


def train(
    dataset: Annotated[str, typer.Argument(help="A dataset's name, or a path under an allowed root.")],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="The recipe to train with.")],
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


async def _request(where: endpoints.Endpoints, model: str, request: TrainRequested, wait_s: float | None) -> Outcome:
    async with NatsBus(where.bus, "cli") as bus:
        after = await last_sequence(bus.js, Stream.LIFECYCLE) if wait_s else 0
        await bus.publish(request, model, event_id=request.request_id)
        outcome = Outcome(request.request_id or "")
        if wait_s:
            await _wait(bus, model, outcome, after, wait_s)
        return outcome


async def _wait(bus: NatsBus, model: str, outcome: Outcome, after: int, wait_s: float) -> None:
    try:
        async with asyncio.timeout(wait_s):
            await follow_request(bus, model, outcome, after)
    except TimeoutError as error:
        raise UnreachableError(
            f"request {outcome.request_id} did not end within {wait_s:.0f} s: see `baton logs trainer`"
        ) from error


async def follow_request(bus: NatsBus, model: str, outcome: Outcome, after: int) -> None:
    """Print what happens to a request until it is over."""
    subjects = [kind.subject(model) for kind in (PromotionDecided, ModelServing, ModelRejected)]
    subjects += [f"run.*.{RunFinished.subject(model).rsplit('.', 1)[-1]}"]
    async for received in follow(bus, Stream.LIFECYCLE, subjects, after):
        if outcome.take(received.event):
            output.err.print(f"  {sentence(received.event)}", markup=False)
        if outcome.over:
            return
    raise BatonError("the connection to NATS was closed")
