"""`baton key`: making a key for a client of predictors, or a token for who commands promoters."""

from typing import Annotated

import typer

from cli import output
from cli.options import AsJson
from shared.keys import line_of, new_key


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command."""
    app.command()(key)


def key(
    name: Annotated[str, typer.Argument(help="Who will have it; it is named in the access log.")],
    as_json: AsJson = False,
) -> None:
    """Make a key: print it, this once, and the line that lets it in."""
    made = new_key()
    line = line_of(name, made)
    if as_json:
        return output.print_json({"name": name, "key": made, "line": line})
    output.out.print(made, markup=False)
    output.err.print(
        "is the key, for the client alone. This line in the file that BATON_API_KEYS_FILE (or for commands"
    )
    output.err.print("BATON_TOKENS_FILE) names lets it in, within seconds and without a restart:")
    return output.out.print(line, markup=False)
