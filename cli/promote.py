"""`baton promote`, `approve`, `rollback`, `unfreeze`, `cleanup`: asking the promoter to change what is served."""

import asyncio
import getpass
import uuid
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cli import endpoints, output
from cli.asking import ask
from cli.following import Outcome, send
from cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from shared.bus import NatsBus
from shared.errors import UnreachableError
from shared.event import subject_token
from shared.events import PromotionRequested

Model = Annotated[str, typer.Argument(help="The model's name in MLflow.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who asks; none: the user of this computer.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays in the history.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the decision, and until a version serves.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait.")]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command."""
    for verb in (promote, approve, rollback, unfreeze, cleanup):
        app.command()(verb)


def promote(
    model: Annotated[str | None, typer.Argument(help="The model's name in MLflow.")] = None,
    version: Annotated[str, typer.Argument(help="Its version; none: the policy judges the best one.")] = "",
    auto: Annotated[bool, typer.Option("--auto", help="The policy judges the best version; of every model.")] = False,
    actor: Actor = None,
    reason: Reason = "",
    wait: Wait = True,
    timeout: Timeout = 60.0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion, or have the policy judge the best one (exit 3: refused)."""
    if auto and version:
        raise typer.BadParameter("--auto finds the version itself: name one or the other", param_hint="VERSION")
    if model is None and not auto:
        raise typer.BadParameter("name a model, or --auto for every model", param_hint="MODEL")
    command = _command(version="auto" if auto or not version else version, actor=actor, reason=reason)
    where, wait_s = endpoints.find(data_dir), timeout if wait else None
    if model is not None:
        return _end(_send(where, model, command, wait_s), waited=wait, as_json=as_json)
    return _do_all(where, command, wait_s, as_json=as_json)


def approve(
    model: Model,
    version: Annotated[str, typer.Argument(help="The version; none: the newest that awaits approval.")] = "",
    actor: Actor = None,
    reason: Reason = "",
    wait: Wait = True,
    timeout: Timeout = 60.0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Carry out what the policy left to a person (exit 3: nothing awaits approval, or the champion has changed)."""
    command = _command(action="approve", version=version, actor=actor, reason=reason)
    _do(data_dir, model, command, timeout if wait else None, as_json=as_json)


def rollback(
    model: Model,
    to: Annotated[str, typer.Option("--to", help="The version to go back to; none: the champion before.")] = "",
    actor: Actor = None,
    reason: Reason = "",
    wait: Wait = True,
    timeout: Timeout = 60.0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Go back to an earlier champion, and freeze the model: the policy promotes nothing until `baton unfreeze`."""
    command = _command(action="rollback", version=to or "previous", actor=actor, reason=reason)
    _do(data_dir, model, command, timeout if wait else None, as_json=as_json)


def unfreeze(
    model: Model,
    actor: Actor = None,
    reason: Reason = "",
    wait: Wait = True,
    timeout: Timeout = 60.0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Let the policy promote versions of a model again."""
    command = _command(action="unfreeze", actor=actor, reason=reason)
    _do(data_dir, model, command, timeout if wait else None, as_json=as_json)


def cleanup(
    keep: Annotated[int, typer.Option("--keep", min=1, help="How many of the newest versions to keep.")],
    model: Annotated[str | None, typer.Argument(help="The model's name in MLflow.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Of every model.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and delete nothing.")] = False,
    actor: Actor = None,
    reason: Reason = "",
    wait: Wait = True,
    timeout: Timeout = 60.0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Delete old versions with their bundles; never the champion, the one before it, or one that awaits something."""
    if (model is None) is not every:
        raise typer.BadParameter("name a model, or --all for every model", param_hint="MODEL")
    where = endpoints.find(data_dir)
    if dry_run:
        return _show_plans(where, [model] if model else _models(where), keep, every=every, as_json=as_json)
    command = _command(action="cleanup", keep=keep, actor=actor, reason=reason)
    if model is not None:
        return _do(data_dir, model, command, timeout if wait else None, as_json=as_json)
    return _do_all(where, command, timeout if wait else None, as_json=as_json)


def _show_plans(where: endpoints.Endpoints, models: list[str], keep: int, *, every: bool, as_json: bool) -> None:
    """Print what a cleanup would delete of each model."""
    ways = {model: f"/models/{subject_token(model)}/cleanup" for model in models}
    plans = {model: ask("promoter", where, "GET", way, keep=keep) for model, way in ways.items()}
    if as_json:
        return output.print_json({"models": plans} if every else plans[models[0]])
    for model, plan in plans.items():
        if every:
            output.out.print(model, markup=False)
        _show_plan(plan)
    return None


def _show_plan(plan: dict[str, Any]) -> None:
    for version in plan["deleted"]:
        output.out.print(f"version {version['version']} would be deleted")
    for version, why in plan["kept"].items():
        output.out.print(f"version {version} would stay: it {why}", markup=False)
    if not plan["deleted"]:
        output.out.print("nothing would be deleted")


def _command(**content: Any) -> PromotionRequested:
    """Return the command; a field that it does not take is wrong usage, said in the event's own words."""
    try:
        return PromotionRequested(**content | {"actor": content["actor"] or _user()})
    except ValidationError as error:
        (fault, *_) = error.errors()
        field = str(fault["loc"][0])
        raise typer.BadParameter(f"{content[field]!r}: {fault['msg']}", param_hint=field.upper()) from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown (command line)"


def _do(data_dir: Any, model: str, command: PromotionRequested, wait_s: float | None, *, as_json: bool) -> None:
    outcome = _send(endpoints.find(data_dir), model, command, wait_s)
    _end(outcome, waited=wait_s is not None, as_json=as_json)


def _models(where: endpoints.Endpoints) -> list[str]:
    return [found["model"] for found in ask("promoter", where, "GET", "/models")["models"]]


def _do_all(where: endpoints.Endpoints, command: PromotionRequested, wait_s: float | None, *, as_json: bool) -> None:
    """Ask the same of every model and end with the exit code that all share."""
    outcomes = asyncio.run(_send_all(where, _models(where), command, wait_s))
    if as_json:
        output.print_json({"models": {name: outcome.as_dict() for name, outcome in outcomes.items()}})
    raise typer.Exit(_common_code(outcomes, waited=wait_s is not None))


def _send(where: endpoints.Endpoints, model: str, command: PromotionRequested, wait_s: float | None) -> Outcome:
    async def over_nats() -> Outcome:
        outcome = Outcome(str(uuid.uuid4()))
        async with NatsBus(where.bus, "cli") as bus:
            await send(bus, model, command, outcome, wait_s)
        return outcome

    return asyncio.run(over_nats())


async def _send_all(
    where: endpoints.Endpoints, models: list[str], command: PromotionRequested, wait_s: float | None
) -> dict[str, Outcome]:
    """Send a command for one model after the other; one that does not end in time does not hold up the next."""
    outcomes = {model: Outcome(str(uuid.uuid4())) for model in models}
    async with NatsBus(where.bus, "cli") as bus:
        for model, outcome in outcomes.items():
            output.err.print(model, markup=False)
            try:
                await send(bus, model, command, outcome, wait_s)
            except UnreachableError as error:
                outcome.gave_up = str(error)
                output.err.print(f"  {error}", markup=False)
    return outcomes


def _end(outcome: Outcome, *, waited: bool, as_json: bool) -> None:
    if as_json:
        output.print_json(outcome.as_dict())
    elif not waited:
        output.out.print(f"requested {outcome.request_id}: follow it with `baton watch`")
    if waited:
        raise typer.Exit(outcome.exit_code)


def _common_code(outcomes: dict[str, Outcome], *, waited: bool) -> int:
    """Return the exit code that all share, else that it was done in part."""
    codes = {outcome.exit_code for outcome in outcomes.values()} if waited else set()
    return codes.pop() if len(codes) == 1 else output.PARTLY if codes else output.DONE
