"""What images hold, what they add to their base, and what a running stack takes."""

import json
import os

import pytest

from scripts.compose_sizes import MEGABYTE, docker, images, layers, printed, size, table
from tests.containers.conftest import Brought
from tests.containers.stack import Stack

pytestmark = pytest.mark.timeout(3600)
BASE = os.environ.get("BATON_PYTHON_IMAGE", "python:3.11-slim")
# Prints what can be imported, and which programs there are.
HAS = """
import json, shutil, sys
from importlib.util import find_spec
names, programs = json.loads(sys.argv[1])
found = [name for name in names if find_spec(name.partition(".")[0]) and find_spec(name)]
print(*found, *filter(shutil.which, programs))
"""
PARTS = ("shared", "services.predictor", "services.trainer", "services.promoter", "cli", "compose.local")
LIBRARIES = ("mlflow", "sklearn", "pandas", "scipy", "onnxruntime", "matplotlib", "psycopg2", "nats", "typer")
TOOLS = ("pip", "setuptools", "pytest")
PROGRAMS = ("pg_dump", "gcc", "git", "curl", "docker")
LEARNING = {"mlflow", "sklearn", "pandas", "scipy", "onnxruntime", "matplotlib"}
HELD: dict[str, set[str]] = {
    "secrets": set(),
    "predictor": {"shared", "services.predictor", "onnxruntime", "nats"},
    "trainer": {"shared", "services.trainer", "cli", "compose.local", "psycopg2", "nats", "typer"} | LEARNING,
    "promoter": {"shared", "services.promoter", "psycopg2", "nats"} | LEARNING,
    "mlflow": {"psycopg2", "nats"} | LEARNING,  # its libraries are the promoter's
    "backup": {"shared", "cli", "compose.local", "psycopg2", "nats", "typer", "pg_dump"},
}


def has(image: str) -> set[str]:
    """Return which of some parts, libraries and programs an image holds."""
    asked = json.dumps([(*PARTS, *LIBRARIES, *TOOLS), PROGRAMS])
    options = ("--rm", "--network", "none", "--entrypoint", "python")
    return set(docker("run", *options, image, "-c", HAS, asked).split())


@pytest.fixture
def built(stack: Stack) -> dict[str, str]:
    """The images that this repository makes, by service."""
    return images(stack.project)


def test_images_hold_what_their_service_needs(built: dict[str, str]) -> None:
    with_base = has(BASE)
    assert with_base <= set(TOOLS) | set(PROGRAMS), "the base is more than Python"
    found = {service: has(image) for service, image in built.items()}
    programs = with_base & set(PROGRAMS)
    assert found == {service: held | programs for service, held in HELD.items()} | {"secrets": with_base}


def test_the_predictor_s_image_is_small(built: dict[str, str]) -> None:
    added = (size(built["predictor"]) - size(BASE)) / MEGABYTE
    print(f"\nthe predictor adds {added:.0f} MB to {BASE}")
    assert added <= 250


def test_mlflow_and_promoter_keep_their_libraries_once(built: dict[str, str]) -> None:
    mlflow, promoter = layers(built["mlflow"]), layers(built["promoter"])
    own = 2  # its data's folder, its start
    assert mlflow[:-own] == promoter[: len(mlflow) - own]


def test_what_the_stack_takes(brought: Brought, stack: Stack) -> None:
    rows = {row["service"]: row for row in table(stack.project, brought.starts, BASE)}
    print(f"\n{printed(list(rows.values()))}")
    running = {"mlflow", "nats", "postgres", "predictor", "promoter", "proxy", "trainer"}
    assert rows.keys() == running | {"secrets", "backup"}
    assert all(rows[service]["healthy after s"] and rows[service]["memory"] for service in running)
