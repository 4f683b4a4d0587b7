"""The token that lets commands in over HTTP: made on the first start, unless the user has a file of tokens."""

import os

from compose.local.datadir import DataDir, write_private
from shared.keys import line_of

VARIABLE = "BATON_TOKENS_FILE"
NAME = "token"


def token(data: DataDir) -> str:
    """Return the stack's own token, nothing where the user's tokens count."""
    return "" if os.environ.get(VARIABLE) else data.secret(NAME)


def setting(data: DataDir) -> dict[str, str]:
    """Return the variable that tells a promoter of the stack's own token; none where the user's tokens count."""
    own = token(data)
    if not own:
        return {}
    file = data.secrets / "tokens"
    write_private(file, line_of("baton-up", own) + "\n")
    return {VARIABLE: str(file)}
