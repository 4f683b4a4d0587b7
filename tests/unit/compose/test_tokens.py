"""The stack's own token for commands over HTTP."""

from pathlib import Path

import pytest

from compose.local import tokens
from compose.local.datadir import DataDir
from shared.keys import Keys


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path)
    made.create()
    return made


def test_the_token_is_kept_and_for_its_owner_only(data: DataDir) -> None:
    token = tokens.token(data)
    assert tokens.token(data) == token
    keys = Keys(Path(tokens.setting(data)["BATON_TOKENS_FILE"]))
    keys.read()
    assert keys.caller([(b"x-api-key", token.encode())]) == "baton-up"
    assert [path.stat().st_mode & 0o777 for path in data.secrets.iterdir()] == [0o600, 0o600]


def test_the_user_s_own_tokens_count(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_TOKENS_FILE", "/mine")
    assert tokens.setting(data) == {}
    assert tokens.token(data) == ""
