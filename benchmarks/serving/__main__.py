"""Requests per second and latency of Baton, of its peers and of the bare limit, all in one run by turns.

    ./task bench -- serving [--seconds 4] [--rounds 3] [--systems baton limit ...]

One worker on one core, the load on the other, both kept from falling asleep; single rows over 1 and 16 connections, and
1,000 rows in one request. Every system starts with the same fitted pipelines, and first has to answer as scikit-learn
does; every later answer that does not is an error. Of kind `limit` are onnxruntime behind a bare ASGI application
(`limit`), such an application with a constant answer, and onnxruntime with neither HTTP nor JSON.
Writes `benchmarks/results/<date>.json` and the same as Markdown.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.cores import LOAD_CORE, SERVER_CORE, awake, cleared
from benchmarks.results import Report, machine, ratios, write
from benchmarks.serving.dialects import DIALECTS
from benchmarks.serving.load import CLOSE, SINGLE_ROWS
from benchmarks.serving.models import MANY_ROWS, RECIPES, Model, make
from benchmarks.serving.systems import KINDS, ONE_ANSWER, Serving, installed, serve

WARM_UP_S = 1.0
ASKED = ((1, 1), (16, 1), (1, MANY_ROWS))  # connections, rows in a request


@dataclass(frozen=True)
class Chosen:
    """How long each turn takes, in seconds, how many turns each system has, and which systems take part."""

    seconds: float
    rounds: int
    systems: list[str]


def measure(model: Model, chosen: Chosen) -> Report:
    """Start all systems on one model, and let them answer by turns."""
    report = Report()
    with ExitStack() as stack:
        started = [stack.enter_context(serve(system, model)) for system in chosen.systems]
        for each in started:
            check(each)
        for connections, rows in ASKED:
            asked = [each for each in started if rows == 1 or each.system not in ONE_ANSWER]
            turns: dict[str, list[dict[str, Any]]] = {each.system: [] for each in asked}
            for _ in range(chosen.rounds):
                for each in asked:
                    turns[each.system].append(loaded(each, connections, rows, chosen.seconds))
            found = [row(each, connections, turns[each.system]) for each in asked]
            if connections == 1:
                found.append(alone(model, rows, chosen.seconds))
            (report.serving if rows == 1 else report.batch).extend(found)
    return report


def check(serving: Serving) -> None:
    """Ask every question once; end here if an answer is not scikit-learn's."""
    known = json.loads(serving.questions.read_text())
    dialect, name = DIALECTS[serving.system], serving.model.name
    with httpx.Client(base_url=f"http://127.0.0.1:{serving.port}", timeout=30) as client:
        for asked, right in zip(known["rows"][:SINGLE_ROWS], known["answers"], strict=False):
            answer = client.post(dialect.path.format(model=name), json=dialect.ask([asked])).raise_for_status()
            if abs(dialect.answer(answer.content)[0] - right) >= CLOSE:
                raise SystemExit(f"{serving.system} answers {answer.text} to {asked}; scikit-learn {right}")


def alone(model: Model, rows: int, seconds: float) -> dict[str, Any]:
    """Return the line of the model without a server."""
    task = {"onnx": str(model.onnx), "questions": str(model.questions), "rows": rows, "seconds": seconds}
    command = [sys.executable, "-m", "benchmarks.serving.in_process", json.dumps(task | {"core": SERVER_CORE})]
    figures = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {"system": "onnxruntime", "kind": "limit", "model": model.name, "connections": 1, **figures}


def loaded(serving: Serving, connections: int, rows: int, seconds: float) -> dict[str, Any]:
    """Let the load generator ask a system; return its figures."""
    task = {
        "system": serving.system,
        "model": serving.model.name,
        "port": serving.port,
        "core": LOAD_CORE,
        "questions": str(serving.questions),
        "connections": connections,
        "rows": rows,
        "seconds": seconds,
        "warm_up": WARM_UP_S,
    }
    command = [sys.executable, "-m", "benchmarks.serving.load", json.dumps(task)]
    figures: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    if figures["errors"]:
        print(f"{serving.system}: {figures['errors']} errors, first {figures['first_error']}", file=sys.stderr)
    return figures


def row(serving: Serving, connections: int, turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a system's line: the median turn."""
    middle = {key: round(statistics.median(turn[key] for turn in turns), 3) for key in ("rps", "p50_ms", "p99_ms")}
    return {
        "system": serving.system,
        "kind": KINDS[serving.system],
        "model": serving.model.name,
        "connections": connections,
        **middle,
        "errors": sum(turn["errors"] for turn in turns),
        "rss_mb": round(serving.resident_mb()),
        "start_s": round(serving.start_s, 1),
    }


def main() -> None:
    """Measure, print, write; fail if an answer was wrong."""
    warnings.simplefilter("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of pickles, which are ours
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", nargs="+", choices=list(KINDS), default=installed())
    chosen, report = Chosen(**vars(parser.parse_args())), Report()
    if missing := set(KINDS) - set(chosen.systems):
        print(f"without {', '.join(sorted(missing))}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as name, cleared() as moved, awake() as wakefulness:
        for recipe in RECIPES:
            found = measure(make(recipe, Path(name) / recipe), chosen)
            report.serving += found.serving
            report.batch += found.batch
    report.machine = machine()
    report.conditions = dict.fromkeys(("serving", "batch"), f"{moved}, {wakefulness}")
    write(report)
    print("\n".join(ratios(report)))
    if any(each["errors"] for each in report.serving + report.batch):
        raise SystemExit("there were answers that are not 200 or not scikit-learn's: see above")


if __name__ == "__main__":
    main()
