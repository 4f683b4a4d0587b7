"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

from cli.endpoints import DEFAULT_DATA_DIR

DataDir = Annotated[Path, typer.Option("--data-dir", help="The stack's data directory.", envvar="BATON_DATA_DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, everything else on stderr.")]

__all__ = ["DEFAULT_DATA_DIR", "AsJson", "DataDir"]
