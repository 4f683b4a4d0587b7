"""Prometheus itself, with the configuration and the rules that ship: only addresses and patience are the test's own."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.servers import answers, free_port, running, wait_for

SHIPPED = Path(__file__).parents[1] / "compose" / "monitoring"
INSTALLED = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="prometheus is not installed: `apt-get install prometheus`, or unpack Debian's package as .ci/run does",
)
SCRAPE_S, EVALUATE_S, PATIENCE_S = 2, 1, 2


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression of PromQL gives now: samples with `metric` and `value`."""
        answer = self._ask("query", query=expression)
        found: list[dict[str, Any]] = answer["result"]
        return found

    def health(self) -> dict[str, str]:
        """Return the health of each target by its job."""
        return {one["labels"]["job"]: one["health"] for one in self._ask("targets")["activeTargets"]}

    def firing(self) -> dict[str, dict[str, Any]]:
        """Return the alerts that fire, by name: one each, whichever, with `labels` and `annotations`."""
        alerts = self._ask("alerts")["alerts"]
        return {one["labels"]["alertname"]: one for one in alerts if one["state"] == "firing"}

    def _ask(self, what: str, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", answer
        data: dict[str, Any] = answer["data"]
        return data


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Run Prometheus on targets, `host:port` by job."""
    home, port = folder / "prometheus", free_port()
    home.mkdir()
    (home / "prometheus.yml").write_text(yaml.safe_dump(_configuration(targets)))
    (home / "alerts.yml").write_text(yaml.safe_dump(_rules()))
    options = {"config.file": home / "prometheus.yml", "storage.tsdb.path": home / "data"}
    words = [f"--{name}={value}" for name, value in options.items()]
    with running(["prometheus", *words, f"--web.listen-address=127.0.0.1:{port}"], home / "log"):
        wait_for(f"Prometheus (see {home / 'log'})", answers(f"http://127.0.0.1:{port}/-/ready"))
        yield Prometheus(f"http://127.0.0.1:{port}")


def _configuration(targets: Mapping[str, str]) -> dict[str, Any]:
    """Return the shipped configuration with fixed addresses for names, and more frequent looks."""
    shipped: dict[str, Any] = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    shipped["global"] |= {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{EVALUATE_S}s"}
    shipped["global"]["scrape_timeout"] = f"{SCRAPE_S}s"
    for job in shipped["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    return shipped


def _rules() -> dict[str, Any]:
    """Return the shipped rules, each of which waits for seconds where it waits for minutes."""
    shipped: dict[str, Any] = yaml.safe_load((SHIPPED / "alerts.yml").read_text())
    for group in shipped["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = f"{PATIENCE_S}s"
    return shipped
