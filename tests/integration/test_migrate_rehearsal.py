"""`--dry-run`: it finds what the migration after it finds, counts what that writes, and changes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import output
from tests.integration.damages import CASES, build
from tests.integration.filestores import Database, administer, at, baton_migrate, fresh, template
from tests.integration.raw_filestore import dataset, experiment, logged_model, model, run, take, version

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow's SQL store warns of itself
    pytest.mark.timeout(300),
]
EARLY, LATE, THEIRS, LOST = "a" * 32, "b" * 32, "c" * 32, "d" * 32
LATER = 1_700_000_000_000
TABLES = """
    SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', 'baton_migrate') ORDER BY 1
"""


@pytest.fixture(scope="module")
def template_name(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return template(database_url, tmp_path_factory.mktemp("nothing"))


@pytest.fixture
def target(database_url: str, template_name: str, tmp_path: Path) -> Iterator[Database]:
    with fresh(database_url, template_name, tmp_path / "artifacts") as database:
        yield database


@pytest.fixture
def source(tmp_path: Path, target: Database) -> Path:
    """Write a store with problems that only the target's side can tell, some of a run that `--since` leaves out."""
    root = tmp_path / "mlruns"
    first = experiment(root, "1", "first")
    early, late = run(first, EARLY), run(first, LATE, start_time=LATER)
    dataset(first, "rows", early, late)
    take(late, "DATASET", "gone", {})
    logged_model(first, "m-1", LATE, f"1 0.5 0 {LATE}\n2 0.25 1 {LOST}\n")
    logged_model(first, "m-2", EARLY, f"1 0.5 0 {EARLY}\n")
    run(first, THEIRS, start_time=LATER)
    of_late = model(root, "of late")
    version(of_late, 1, late, current_stage="Production")
    version(of_late, 2, late, current_stage="Production")
    version(model(root, "of early", champion=1), 1, early)
    version(model(root, "of nothing"), 1, late, source="/nowhere/model", storage_location=None)
    own = target.client.create_experiment("their own")
    target.query("INSERT INTO runs (run_uuid, experiment_id, name) VALUES (%s, %s, 'theirs')", THEIRS, own)
    return root


def state(target: Database) -> dict[str, Any]:
    """Return a digest of each table, and where the sequences are."""
    digest = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t"
    found = {table: target.query(digest.format(table)) for (table,) in target.query(TABLES)}
    return {**found, "sequences": target.query("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1")}


def problems(report: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    found = report["findings"]
    return sorted((item["path"], item["kind"], item["action"], item["reason"]) for item in found)


def rehearsed_and_done(source: Path, target: Database, *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rehearse a migration and carry it out; return both reports."""
    before = state(target)
    rehearsal = baton_migrate(source, target, "--dry-run", "--json", *words)
    assert state(target) == before
    assert not target.artifacts.exists()
    done = baton_migrate(source, target, "--json", *words)
    assert (rehearsal.returncode, rehearsal.stdout != "") == (done.returncode, True), rehearsal.stderr + done.stderr
    return json.loads(rehearsal.stdout), json.loads(done.stdout)


@pytest.mark.parametrize("words", [[], ["--since", "2023-01-01"], ["--only", "first", "--since", "2023-01-01"]])
def test_a_rehearsal_names_what_the_migration_names(words: list[str], source: Path, target: Database) -> None:
    rehearsal, report = rehearsed_and_done(source, target, *words)
    assert problems(rehearsal) == problems(report)
    assert rehearsal["to_write"] == report["written"]
    assert rehearsal["champions"] == report["champions"]
    whole = not words
    assert report["champions"] == {"of late": 2} | ({"of early": 1} if whole else {})
    named = " ".join(reason for *_, reason in problems(rehearsal))
    parts = ["a run " + THEIRS + " of its own", "names data set gone", "its files are not there", "newest of"]
    assert [part in named for part in [*parts, f"is of run {LOST}"]] == [True] * 4 + [whole]


def test_a_rehearsal_names_all_damage_that_the_migration_names(tmp_path: Path, target: Database) -> None:
    build(tmp_path / "mlruns", CASES)
    rehearsal, report = rehearsed_and_done(tmp_path / "mlruns", target)
    assert problems(rehearsal) == problems(report)
    assert rehearsal["to_write"] == report["written"]


def test_a_rehearsal_prints_the_plan_and_every_problem(tmp_path: Path, target: Database) -> None:
    build(tmp_path / "mlruns", CASES)
    run(experiment(tmp_path / "mlruns", "777", "[/name] in brackets"))
    report = json.loads(baton_migrate(tmp_path / "mlruns", target, "--dry-run", "--json").stdout)
    printed = baton_migrate(tmp_path / "mlruns", target, "--dry-run").stdout
    assert "experiment 777 becomes '[/name] in brackets': 1 runs, 0 logged models" in printed
    assert "champion of v-two: version 3 (to be)" in printed
    assert len(report["findings"]) > 50
    lines = printed.splitlines()
    for path, kind, action, _ in problems(report):
        assert any(action in line and kind in line and path.split("/")[0] in line for line in lines), (path, kind)


def test_of_what_is_done_a_rehearsal_names_what_is_left(source: Path, target: Database) -> None:
    assert baton_migrate(source, target, "--since", "2023-01-01").returncode == output.PARTLY
    before = state(target)
    rehearsal = json.loads(baton_migrate(source, target, "--dry-run", "--json").stdout)
    assert state(target) == before
    report = json.loads(baton_migrate(source, target, "--json").stdout)
    assert (rehearsal["to_write"]["run"], rehearsal["in_target"]["run"]) == (1, 1)
    assert problems(rehearsal) == problems(report)
    assert rehearsal["to_write"] == report["written"]


def test_names_that_clash_do_not_hide_other_problems(source: Path, target: Database) -> None:
    target.client.create_experiment("first")
    before = state(target)
    done = baton_migrate(source, target, "--dry-run", "--json")
    assert done.returncode == output.FAILED
    assert "experiment 'first' already" in done.stderr
    report = json.loads(done.stdout)
    assert report["refusal"] in " ".join(done.stderr.split())
    assert any("its files are not there" in finding["reason"] for finding in report["findings"])
    assert state(target) == before


def test_a_new_database_stays_empty(database_url: str, source: Path, tmp_path: Path) -> None:
    name = "rehearsed_new"
    administer(database_url, f"CREATE DATABASE {name}")
    new = Database(at(database_url, name), tmp_path / "new")
    done = baton_migrate(source, new, "--dry-run", "--json", "--artifacts", str(tmp_path / "new"))
    assert done.returncode == output.PARTLY, done.stderr
    assert json.loads(done.stdout)["to_write"]["run"] == 3
    assert new.query(TABLES) == []
    administer(database_url, f"DROP DATABASE {name} WITH (FORCE)")
