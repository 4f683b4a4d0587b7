"""Broken FileStores: each kind of damage is repaired or quarantined and reported, and nothing else is lost."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import output
from cli.main import make_app
from tests.integration.damages import CASES, Case, build
from tests.integration.filestores import Database, baton_migrate, fresh, template
from tests.integration.raw_filestore import experiment, run, value

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's SQL store warns of itself


@dataclass
class Migrated:
    """A store with every damage, migrated."""

    database: Database
    report: dict[str, Any]
    code: int
    places: dict[str, tuple[Path, Path]]


@pytest.fixture(scope="module")
def databases(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return template(database_url, tmp_path_factory.mktemp("nothing"))


@pytest.fixture(scope="module")
def migrated(database_url: str, databases: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migrated]:
    folder = tmp_path_factory.mktemp("damaged")
    places = build(folder / "mlruns", CASES)
    with fresh(database_url, databases, folder / "artifacts") as database:
        done = baton_migrate(folder / "mlruns", database, "--json", verify="full")
        assert done.stdout, done.stderr
        yield Migrated(database, json.loads(done.stdout), done.returncode, places)


def test_there_are_more_than_25_kinds_of_damage_and_the_exit_code_says_so(migrated: Migrated) -> None:
    assert len(CASES) > 25
    assert migrated.code == output.PARTLY
    assert migrated.report["verification"]["differences"] == []
    assert not Path("/tmp/pwned").exists()


@pytest.fixture(scope="module")
def alone(database_url: str, databases: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database for stores of one damage each."""
    with fresh(database_url, databases, tmp_path_factory.mktemp("alone")) as database:
        yield database


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_damage_is_reported_and_nothing_else_is_lost(
    case: Case, migrated: Migrated, alone: Database, tmp_path: Path
) -> None:
    assert code_of(case, alone, tmp_path / "mlruns") == case.code
    folder, good = migrated.places[case.name]
    found = [
        item
        for item in migrated.report["findings"]
        if item["action"] == case.action and case.says in item["reason"] and belongs(item["path"], case, folder)
    ]
    if case.action is not None:
        assert found, [item for item in migrated.report["findings"] if belongs(item["path"], case, folder)]
    else:
        own = [item for item in migrated.report["findings"] if item["path"].startswith(f"{folder.name}/")]
        assert own == []
    query = "SELECT count(*) FROM runs WHERE experiment_id = %s"
    assert migrated.database.query(query, migrated.report["experiments"][folder.name]) == [(case.runs,)]
    points = migrated.database.query(
        "SELECT value FROM metrics WHERE run_uuid = %s AND key = 'm' ORDER BY step", good.name
    )
    assert points == [(0.5,), (0.75,)]
    if case.sql:
        names = (f"case-{folder.name}",) if "%s" in case.sql else ()
        assert migrated.database.query(case.sql, *names) == [(case.answer,)]


def code_of(case: Case, database: Database, root: Path) -> int:
    """Migrate a store with one damage alone, and return the exit code."""
    build(root, [case])
    words = ["migrate", str(root), "--to", database.url, "--no-backup", "--verify", "off"]
    return CliRunner().invoke(make_app(), words).exit_code


def belongs(path: str, case: Case, folder: Path) -> bool:
    """Tell whether a finding is about a case: by its experiment, or a folder that only this case has."""
    return path.split("/", maxsplit=1)[0] in {folder.name, "models", ".trash"} or path.startswith("900000")


def test_repairs_alone_end_with_success(tmp_path: Path, database_url: str, databases: str) -> None:
    folder = run(experiment(tmp_path / "mlruns", "1", "repairable"))
    (folder / "meta.yaml").write_text("")
    value(folder, "params/long", "x" * 20_000)
    with fresh(database_url, databases, tmp_path / "artifacts") as database:
        done = baton_migrate(tmp_path / "mlruns", database, "--json")
        assert done.returncode == output.DONE, done.stderr
        assert json.loads(done.stdout)["counts"] == {"repaired": 2}
