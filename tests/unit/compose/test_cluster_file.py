"""The file for several hosts, as Docker Compose reads it: what is hardened on one stays so, who gets which secrets."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.docker import compose

FILE = Path(__file__).parents[3] / "compose" / "cluster.yaml"
SECRETS = "/run/baton"


def read(**settings: str) -> dict[str, Any]:
    if (installed := compose()) is None:
        pytest.skip("Docker Compose is not installed")
    command = [*installed, "-f", str(FILE), "--profile", "*", "config", "--format", "json"]
    services: dict[str, Any] = json.loads(
        subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=True).stdout
    )["services"]
    return services


def test_each_service_gets_its_own_secrets_and_no_rights() -> None:
    services = read()
    assert services.keys() == {"storage", "nats", "promoter", "trainer", "predictor", "proxy", "backup", "prometheus"}
    for name, service in services.items():
        assert (service["read_only"], service["cap_drop"], service["pids_limit"]) == (True, ["ALL"], 1000), name
        mounted = {volume["target"]: volume.get("source", "") for volume in service.get("volumes", [])}
        assert list(service.get("networks", {})) == ([] if name == "storage" else ["outside"]), (
            "a name for two addresses"
        )
        assert Path(mounted.get(SECRETS, name)).name == name
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), "unless BATON_BIND says so"


def test_what_is_elsewhere_is_not_waited_for() -> None:
    services = read()
    waited = {name: set(service.get("depends_on", {})) for name, service in services.items()}
    assert {name: needs for name, needs in waited.items() if needs} == {"nats": {"storage"}}
    assert services["promoter"]["environment"]["BATON_REPLICAS"] == "3"


def test_how_many_predictors_is_a_setting() -> None:
    assert [read(BATON_PREDICTORS=number)["predictor"].get("scale", 1) for number in ("", "3")] == [1, 3]
