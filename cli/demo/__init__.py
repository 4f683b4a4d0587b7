"""`baton demo`: the main job from an empty directory to a hot-swapped champion, on a real stack."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.demo.report import Report
from cli.options import AsJson

POLICY = Path(__file__).with_name("promotion.yaml")
