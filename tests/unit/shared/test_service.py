"""What a service says that cannot start."""

import subprocess
import sys

import pytest

STARTING = """
from contextlib import asynccontextmanager
from fastapi import FastAPI
from shared.errors import TablesError
from shared.service import serve
from shared.settings import ServiceSettings
from shared.telemetry import configure_logging

@asynccontextmanager
async def lifespan(app):
    raise {error}
    yield

configure_logging("test", level="INFO", as_json=False)
serve(FastAPI(lifespan=lifespan), ServiceSettings(), 0)
"""


def start(error: str) -> str:
    """Return what a service says whose start ends in an error."""
    command = [sys.executable, "-c", STARTING.format(error=error)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3
    return ended.stdout + ended.stderr


def test_a_foreseen_error_is_said_in_one_sentence() -> None:
    said = start("TablesError('there is no table named so')")
    assert "there is no table named so" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("error", ["KeyError('x')", "RuntimeError('who knows')"])
def test_an_unforeseen_one_comes_with_its_traceback(error: str) -> None:
    assert "Traceback" in start(error)


def test_what_was_imported_is_left_out_of_garbage_collections() -> None:
    said = start("""TablesError(f'settled: {__import__("gc").get_freeze_count() > 10_000}')""")
    assert "settled: True" in said
