"""Results of the benchmarks: one JSON file a day and processor, and the same as Markdown."""

import json
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

FOLDER = Path(__file__).parent
Row = dict[str, Any]


@dataclass
class Report:
    """Lines of measurements. `batch` has the form of `serving`, with 1,000 rows in each request.

    `conditions` says of a part what was arranged on the machine for it.
    """

    machine: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)
    serving: list[Row] = field(default_factory=list)
    reload: list[Row] = field(default_factory=list)
    batch: list[Row] = field(default_factory=list)
    many: list[Row] = field(default_factory=list)
    fleet: list[Row] = field(default_factory=list)
    fsync: list[Row] = field(default_factory=list)
    migrate: list[Row] = field(default_factory=list)
    concurrency: list[Row] = field(default_factory=list)


def machine() -> dict[str, Any]:
    """Say what was measured on."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.platform(),
        "python": platform.python_version(),
        "niceness": psutil.Process().nice(),
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def write(report: Report) -> Path:
    """Write today's files, keeping the parts of them that this run did not measure."""
    path = _file(str(report.machine.get("processor", "")))
    known = json.loads(path.read_text()) if path.exists() else {}
    whole = known | {key: value for key, value in asdict(report).items() if value or key not in known}
    whole["conditions"] = known.get("conditions", {}) | report.conditions
    path.write_text(json.dumps(whole, indent=1) + "\n")
    path.with_suffix(".md").write_text("\n".join(_markdown(Report(**whole))) + "\n")
    return path


def _file(processor: str) -> Path:
    """Return today's file; where that is of another processor, one that is named after this one, too."""
    path = FOLDER / f"{datetime.now(UTC):%Y-%m-%d}.json"
    if not path.exists() or json.loads(path.read_text())["machine"].get("processor", "") == processor:
        return path
    return path.with_stem(f"{path.stem}-{re.sub(r'[^a-z0-9]+', '-', processor.lower()).strip('-')}")


def ratios(report: Report) -> Iterator[str]:
    """Say how Baton stands to its best peer and to the limit."""
    for title, rows in (("1 row", report.serving), ("1,000 rows", report.batch)):
        for case in sorted({(row["model"], row["connections"]) for row in rows}):
            of = {row["system"]: row for row in rows if (row["model"], row["connections"]) == case}
            yield f"{case[0]}, {case[1]} connections, {title}: {', '.join(_compared(of))}"


def _compared(of: dict[str, Row]) -> Iterator[str]:
    if "baton" not in of:
        return
    baton, peers = of["baton"], [row for row in of.values() if row["kind"] == "peer" and row["rps"]]
    if peers:
        best = max(peers, key=lambda row: float(row["rps"]))
        yield f"{baton['rps'] / best['rps']:.1f} x the best peer ({best['system']})"
        yield f"p99 {baton['p99_ms']:.1f} ms, the peers' lowest p50 {min(row['p50_ms'] for row in peers):.1f} ms"
    if "limit" in of:
        yield f"{baton['rps'] / of['limit']['rps']:.2f} of the limit"


def _markdown(report: Report) -> Iterator[str]:
    yield f"# Measured on {report.machine.get('processor')}, {report.machine.get('cores')} cores\n"
    yield f"`{json.dumps(report.machine)}`\n"
    if report.machine.get("niceness"):
        yield "**Preliminary:** other work had precedence on this machine; only a run without `nice` counts.\n"
    for title, part in (("Single rows", "serving"), ("1,000 rows in one request", "batch")):
        yield from _part(report, part, title)
    yield from [*(f"- {line}" for line in ratios(report)), ""]
    more = {
        "reload": "Reloads",
        "many": "Many models in one worker",
        "fleet": "A fleet",
        "fsync": "Events acknowledged before or after they are on the disk",
        "migrate": "From mlruns/ to a database",
        "concurrency": "Processes that log and transition at once",
    }
    for part, title in more.items():
        yield from _part(report, part, title)


def _part(report: Report, part: str, title: str) -> Iterator[str]:
    if rows := getattr(report, part):
        yield f"## {title}\n"
        if part in report.conditions:
            yield f"With {report.conditions[part]}.\n"
        yield from _table(rows)


def _table(rows: list[Row]) -> Iterator[str]:
    names = list(rows[0])
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    yield from (f"| {' | '.join('' if row[name] is None else str(row[name]) for name in names)} |" for row in rows)
    yield ""
