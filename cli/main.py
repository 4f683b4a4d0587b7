"""The `baton` command: one module per verb group, one place where errors become exit codes."""

import asyncio
import logging

import typer
from nats.errors import Error as NatsError

from cli import backup, demo, keys, migrate, output, predict, promote, records, stack, status, train, ui, watch
from shared.errors import BatonError, UnreachableError

VERB_GROUPS = (stack, demo, train, promote, records, status, predict, watch, migrate, ui, backup, keys)


def make_app() -> typer.Typer:
    """Return the command with all its verbs."""
    app = typer.Typer(
        name="baton",
        help="Train, promote and serve scikit-learn models as events.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for group in VERB_GROUPS:
        group.register(app)
    return app


def main() -> None:
    """Run the command line; a foreseen failure is one sentence on stderr and an exit code."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of how NATS's client ends TLS
    try:
        make_app()()
    except BatonError as error:
        output.fail(error)
    except NatsError as error:
        output.fail(UnreachableError(f"NATS did not do what was asked of it ({error}): does it run with JetStream?"))
    except (asyncio.CancelledError, KeyboardInterrupt):
        output.fail(BatonError("stopped before it was done"))
