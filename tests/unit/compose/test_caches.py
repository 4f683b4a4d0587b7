"""Predictors of one host share a volume: each has a cache of its own there, and who comes next takes it over."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from compose import entrypoint

SAYS_WHERE = ("sh", "-c", "echo $BATON_CACHE_DIR; read ended")


@contextmanager
def container(caches: Path, **told: str) -> Iterator[str]:
    """Start a predictor's container, as far as its cache; yield which it has, and end it."""
    command = [sys.executable, entrypoint.__file__, *SAYS_WHERE]
    environment = {**os.environ, "BATON_CACHES": str(caches), **told}
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **streams) as process:  # type: ignore[call-overload]
        yield process.stdout.readline().strip()
        process.kill()


def heard(cache: str, at: float) -> None:
    champions = Path(cache) / "champions"
    champions.mkdir(exist_ok=True)
    os.utime(champions, (at, at))


def test_each_has_its_own_and_who_comes_next_takes_over_what_knows_most(tmp_path: Path) -> None:
    with ExitStack() as running:
        first, second, third = (running.enter_context(container(tmp_path)) for _ in range(3))
        assert len({first, second, third}) == 3
        for cache, at in ((first, 10), (second, 30), (third, 20)):
            heard(cache, at)
    with container(tmp_path) as one, container(tmp_path) as other:
        assert (one, other) == (second, third)


def test_a_place_that_was_chosen_counts(tmp_path: Path) -> None:
    with container(tmp_path, BATON_CACHE_DIR="/elsewhere") as chosen:
        assert chosen == "/elsewhere"
    assert list(tmp_path.iterdir()) == []


def test_others_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATON_CACHE_DIR", raising=False)
    with container(tmp_path, BATON_CACHES="") as nothing:
        assert nothing == ""
