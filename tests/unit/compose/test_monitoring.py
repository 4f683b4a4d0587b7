"""Alerts, dashboards and the page on metrics speak of metrics that the services have."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from services.predictor.meters import FOLDER
from services.predictor.meters import Meters as Predictor
from services.promoter.meters import Meters as Promoter
from services.trainer.meters import Meters as Trainer

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "compose" / "monitoring"
DASHBOARDS = ("serving.json", "promotion.json")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
MODEL = {"model": "m", "generation": 1, "unpublished": {"changes": 1, "since": datetime.now(UTC), "waiting": None}}


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The type of each metric of every service, by name."""
    monkeypatch.delenv(FOLDER, raising=False)
    exposed = (
        Predictor().exposed(),
        Trainer(lambda: 0).exposed(0),
        Promoter().exposed({"models": [MODEL], "workers": []}),
    )
    found = (family for one in exposed for family in text_string_to_metric_families(one.decode()))
    return {family.name: family.type for family in found if not family.name.endswith("_created")}


@pytest.fixture
def samples(families: dict[str, str]) -> set[str]:
    return {name + suffix for name, kind in families.items() for suffix in SUFFIXES[kind]}


def asked_by_dashboard(file: str) -> list[str]:
    dashboard = json.loads((MONITORING / file).read_text())
    variables = [one["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    return variables + [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def named(expressions: list[str]) -> set[str]:
    return {name for expression in expressions for name in re.findall(r"baton_\w+", expression)}


@pytest.mark.parametrize("file", DASHBOARDS)
def test_a_dashboard_asks_for_metrics_that_exist(file: str, samples: set[str]) -> None:
    asked = named(asked_by_dashboard(file))
    assert asked
    assert asked - samples == set()


def test_every_metric_is_on_a_dashboard(families: dict[str, str]) -> None:
    asked = named([expression for file in DASHBOARDS for expression in asked_by_dashboard(file)])
    assert [name for name in families if not any(one.startswith(name) for one in asked)] == []


def test_alerts_ask_for_metrics_and_jobs_that_exist(samples: set[str]) -> None:
    expressions = [rule["expr"] for rule in alerts()]
    assert named(expressions) - samples == set()
    jobs = {job for expression in expressions for job in re.findall(r'job="([^"]+)"', expression)}
    for file in ("prometheus.yml", "host.yml"):
        scraped = yaml.safe_load((MONITORING / file).read_text())["scrape_configs"]
        assert jobs == {one["job_name"] for one in scraped}, file


def test_every_alert_says_what_is_wrong_and_how_bad_it_is() -> None:
    for rule in alerts():
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]


def test_every_metric_is_described(families: dict[str, str]) -> None:
    described = (ROOT / "docs" / "metrics.md").read_text()
    names = (name + ("_total" if kind == "counter" else "") for name, kind in families.items())
    assert [name for name in names if f"| `{name}` |" not in described] == []


def test_every_alert_is_tried_and_not_only_in_silence() -> None:
    cases = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    tried = [one for case in cases for one in case["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}
    assert {one["alertname"] for one in tried if one.get("exp_alerts")} == names
    assert {one["alertname"] for one in tried if not one.get("exp_alerts")} == names


@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed: `apt-get install prometheus`, or unpack Debian's package as .ci/run does",
)
@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "config", "host.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_takes_configuration_and_rules_and_they_say_what_they_should(words: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *words], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
