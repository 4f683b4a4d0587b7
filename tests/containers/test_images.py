"""What images hold, what they add to their base, and what a running stack takes."""

import os

import pytest

from scripts.compose_sizes import MEGABYTE, docker, printed, size, table
from tests.containers.conftest import Brought
from tests.containers.stack import Stack, inspected

pytestmark = pytest.mark.timeout(3600)
BASE = os.environ.get("BATON_PYTHON_IMAGE", "python:3.11-slim")
HAS = """
from importlib.util import find_spec
print(*filter(find_spec, ("mlflow", "sklearn", "pandas", "scipy", "psycopg2", "pip", "onnxruntime")))
"""


def has(image: str) -> set[str]:
    """Return which of some libraries an image can import."""
    return set(docker("run", "--rm", "--network", "none", image, "python", "-c", HAS).split())


def image_of(stack: Stack, service: str) -> str:
    return str(inspected(stack.containers(service)[0])["Image"])


def test_the_predictor_s_image_is_small(stack: Stack) -> None:
    image = image_of(stack, "predictor")
    assert has(image) == {"onnxruntime"}
    added = (size(image) - size(BASE)) / MEGABYTE
    print(f"\nthe predictor adds {added:.0f} MB to {BASE}")
    assert added <= 250


def test_what_the_stack_takes(brought: Brought, stack: Stack) -> None:
    rows = table(stack.project, brought.starts, BASE)
    print(f"\n{printed(rows)}")
    assert len(rows) == 7
    assert all(row["healthy after s"] and row["memory"] for row in rows)
