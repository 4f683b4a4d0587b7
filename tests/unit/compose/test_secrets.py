"""The secrets of a stack of containers, and how a container comes by them."""

from pathlib import Path

import pytest

from compose.entrypoint import environment, on_loopback
from compose.make_secrets import BUS_USERS, make
from shared.keys import line_of

SERVICES = ("postgres", "nats", "mlflow", "trainer", "promoter", "predictor", "client", "backup", "grafana")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for service in SERVICES:
        (tmp_path / service).mkdir()
    make(tmp_path)
    return tmp_path


def everything(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_secrets_are_made_once(folder: Path) -> None:
    before = everything(folder)
    make(folder)
    assert everything(folder) == before


def test_what_an_interrupted_start_left_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "client").mkdir()
    draft = tmp_path / "client" / ".BATON_TOKEN"
    draft.write_text("half")
    draft.chmod(0o444)
    make(tmp_path)
    assert "half" not in everything(tmp_path).values()
    assert not draft.exists()


def test_a_service_that_a_later_version_brought_gets_its_secrets_and_nobody_s_change(folder: Path) -> None:
    before = everything(folder)
    for path in (folder / "backup").iterdir():
        path.unlink()
    make(folder)
    found = everything(folder)
    changed = {name for name, text in found.items() if before[name] != text}
    assert changed == {
        "backup/BATON_NATS_URL", "backup/MLFLOW_TRACKING_PASSWORD", "nats/passwords.conf", "mlflow/users",
    }  # fmt: skip
    password = found["backup/BATON_NATS_URL"].split(":")[2].split("@")[0]
    assert f'backup_password: "{password}"\n' in found["nats/passwords.conf"]
    assert f"backup:{found['backup/MLFLOW_TRACKING_PASSWORD']}\n" in found["mlflow/users"]


def test_no_service_has_another_one_s_password(folder: Path) -> None:
    passwords = {user: (folder / user / "BATON_NATS_URL").read_text().split(":")[2].split("@")[0] for user in BUS_USERS}
    assert len(set(passwords.values())) == len(BUS_USERS)
    for user, password in passwords.items():
        holders = {name.split("/")[0] for name, text in everything(folder).items() if password in text}
        assert holders == {user, "nats"}
    assert {path.name for path in (folder / "predictor").iterdir()} == {"BATON_NATS_INBOX", "BATON_NATS_URL", "keys"}


@pytest.mark.parametrize(("name", "service"), [("BATON_API_KEY", "predictor"), ("BATON_TOKEN", "promoter")])
def test_the_client_s_keys_are_known_by_their_hashes_only(folder: Path, name: str, service: str) -> None:
    key = (folder / "client" / name).read_text()
    assert (folder / service / "keys").read_text() == line_of("client", key) + "\n"
    assert [holder for holder, text in everything(folder).items() if key in text] == [f"client/{name}"]


def test_a_container_s_environment(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "config"
    (config / "data").mkdir(parents=True)
    found = environment(folder / "promoter", config, {})
    assert found.keys() == {
        "BATON_NATS_INBOX", "BATON_NATS_URL", "BATON_DATABASE_URL", "BATON_DATA_ROOTS", "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
    }  # fmt: skip
    assert found["BATON_NATS_INBOX"] == "_INBOX_promoter"
    assert found["BATON_DATABASE_URL"].startswith("postgresql://promoter:")
    assert found["BATON_DATA_ROOTS"] == str(config / "data")


@pytest.mark.parametrize(
    ("given", "off"),
    [
        ({"BATON_BIND": "127.0.0.1"}, True),
        ({"BATON_BIND": "::1"}, True),
        ({"BATON_BIND": "0.0.0.0"}, False),
        ({"BATON_BIND": "10.0.0.7"}, False),
        ({"BATON_BIND": ""}, False),
        ({}, False),
    ],
)
def test_keys_are_asked_for_where_others_reach_the_port(tmp_path: Path, given: dict[str, str], off: bool) -> None:
    found = environment(tmp_path, tmp_path / "none", given)
    assert found == (on_loopback(given["BATON_BIND"]) if off else {})
    if off:
        assert given["BATON_BIND"] in found["BATON_ALLOWED_HOSTS"].split(",")


def test_servers_on_several_hosts_know_each_other_and_services_know_all(tmp_path: Path) -> None:
    make(tmp_path / "new", ("a", "b", "c"))
    urls = (tmp_path / "new" / "predictor" / "BATON_NATS_URL").read_text().split(",")
    assert [url.rpartition("@")[2] for url in urls] == ["a:4222", "b:4222", "c:4222"]
    assert len({url.rpartition("@")[0] for url in urls}) == 1
    routes = (tmp_path / "new" / "nats" / "routes.conf").read_text()
    secret = routes.split('"')[1]
    assert all(f'"nats://node:{secret}@{host}:6222"' in routes for host in "abc")
    assert not any(secret in text for name, text in everything(tmp_path / "new").items() if name != "nats/routes.conf")
