"""Keys: what a file of them says, and who is let in."""

import asyncio
from pathlib import Path

import pytest

from shared import keys as module
from shared.errors import SettingsError, UnauthorizedError
from shared.keys import Keys, line_of, named, new_key

ANN, BOB = new_key(), new_key()


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"here"), (b"authorization", b"Bearer " + key.encode())]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# who asks\n\n{line_of('ann', ANN)}\n  {line_of('bob@work', BOB)}  \n")
    return path


@pytest.fixture
def keys(file: Path) -> Keys:
    made = Keys(file)
    made.read()
    return made


def test_no_two_keys_are_alike_and_no_line_holds_one() -> None:
    assert ANN != BOB
    assert len(ANN) >= 43  # 256 bits
    assert ANN not in line_of("ann", ANN)


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        (bearer(ANN), "ann"),
        (bearer(BOB), "bob@work"),
        ([(b"authorization", b"bearer   " + ANN.encode() + b" ")], "ann"),
        ([(b"x-api-key", BOB.encode())], "bob@work"),
        ([(b"authorization", b"Basic YTpi"), (b"x-api-key", BOB.encode())], "bob@work"),
    ],
)
def test_who_shows_a_key_is_named(keys: Keys, headers: list[tuple[bytes, bytes]], name: str) -> None:
    assert keys.caller(headers) == name


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ([], "show a key"),
        ([(b"authorization", b"Basic YTpi")], "show a key"),
        ([(b"authorization", ANN.encode())], "show a key"),
        (bearer(""), "not known"),
        (bearer(ANN[:-1]), "not known"),
        (bearer(new_key()), "not known"),
        (bearer(line_of("ann", ANN).split(":")[1]), "not known"),
        ([(b"x-api-key", b"\xff")], "not known"),
    ],
)
def test_strangers_are_told_what_to_show(keys: Keys, headers: list[tuple[bytes, bytes]], sentence: str) -> None:
    with pytest.raises(UnauthorizedError, match=sentence):
        keys.caller(headers)


def test_without_a_file_nobody_is_let_in() -> None:
    keys = Keys(None)
    keys.read()
    with pytest.raises(UnauthorizedError):
        keys.caller(bearer(ANN))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(ANN, id="key"),
        pytest.param(f"ann:{ANN}", id="key with a name"),
        "ann:12",
        ":" + "0" * 64,
        "a b:" + "0" * 64,
        "ann:" + "g" * 64,
    ],
)
def test_a_line_that_is_none_is_named_and_not_shown(line: str) -> None:
    with pytest.raises(SettingsError, match="line 2 is not name:sha256") as refused:
        named(f"# one\n{line}\n")
    assert line not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\nb", "x" * 101, "ü"])
def test_a_name_that_no_line_can_have_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="is no name of a key"):
        line_of(name, ANN)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{tmp_path}/none cannot be read"):
        Keys(tmp_path / "none").read()


def write(file: Path, text: str) -> None:
    file.write_text(text)


def is_known(keys: Keys, key: str) -> bool:
    try:
        return bool(keys.caller(bearer(key)))
    except UnauthorizedError:
        return False


def test_a_file_that_cannot_be_used_changes_nothing(keys: Keys, file: Path) -> None:
    file.write_text("half a line")
    with pytest.raises(SettingsError, match=f"{file}: line 1 is not"):
        keys.read()
    assert is_known(keys, ANN)


async def test_a_key_comes_and_goes_without_a_restart(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    new, keys = new_key(), Keys(file)
    async with keys.followed():
        assert is_known(keys, ANN)
        for known, gone in ((new, ANN), (ANN, new)):
            write(file, f"{line_of('eve', known)}\n")
            async with asyncio.timeout(10):
                while is_known(keys, gone) or not is_known(keys, known):
                    await asyncio.sleep(0.005)


async def test_a_file_that_cannot_be_used_at_first_is_an_error(file: Path) -> None:
    write(file, "half a line")
    with pytest.raises(SettingsError):
        async with Keys(file).followed():
            pass
