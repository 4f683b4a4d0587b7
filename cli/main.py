"""The `baton` command: one module per verb group, one place where errors become exit codes."""

import typer

from cli import output, stack
from shared.errors import BatonError

app = typer.Typer(
    name="baton",
    help="Train, promote and serve scikit-learn models as events.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
stack.register(app)


def main() -> None:
    """Run the command line; a foreseen failure is one sentence on stderr and an exit code."""
    try:
        app()
    except BatonError as error:
        output.fail(error)
