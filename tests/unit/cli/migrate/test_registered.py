"""Registered models whose folders or files want to lead a migration elsewhere."""

from pathlib import Path

import pytest

from cli.migrate.experiment import read_experiment
from cli.migrate.findings import Action, Findings
from cli.migrate.folders import read_values
from cli.migrate.limits import Limits
from cli.migrate.logged_model import read_logged_model
from cli.migrate.registered import read_registered
from cli.migrate.tree import ExperimentFolder


@pytest.mark.parametrize("name", ["../../../tmp/evil", "a/b", "a:b", "..", "."])
def test_a_name_that_makes_paths_becomes_the_folder_s(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "sound"
    folder.mkdir(parents=True)
    (folder / "meta.yaml").write_text(f"name: '{name}'\n")
    findings = Findings()
    model = read_registered(folder, tmp_path, Limits(), findings)
    assert model is not None
    assert model.name == "sound"
    assert [finding.action for finding in findings.items] == [Action.REPAIRED]


def test_a_folder_of_values_that_leads_outside_is_not_read(tmp_path: Path) -> None:
    root, secret = tmp_path / "mlruns", tmp_path / "secret"
    (root / "inside").mkdir(parents=True)
    secret.mkdir()
    for folder in (root / "inside", secret):
        (folder / "p").write_text("1")
    for name, target in (("out", secret), ("in", root / "inside")):
        (root / name).symlink_to(target)
    findings = Findings()
    assert read_values(root / "out", "out", "param", findings, root, None) == {}
    assert read_values(root / "in", "in", "param", findings, root, None) == {"p": "1"}
    assert [(finding.path, finding.action) for finding in findings.items] == [("out", Action.QUARANTINED)]


def test_models_and_versions_that_lie_outside_are_not_read(tmp_path: Path) -> None:
    root, other = tmp_path / "mlruns", tmp_path / "other"
    for folder in (other / "version-1", root / "models" / "sound", root / "1" / "models"):
        folder.mkdir(parents=True)
    for folder in (other, other / "version-1", root / "models" / "sound"):
        (folder / "meta.yaml").write_text("name: sound\nsource: /etc\n")
    links = ("models/out", "models/sound/version-2", "1/models/m-1")
    for link in links:
        (root / link).symlink_to(other)
    findings = Findings()
    assert read_registered(root / "models" / "out", root, Limits(), findings) is None
    assert read_logged_model(root / "1" / "models" / "m-1", root, Limits(), findings) is None
    sound = read_registered(root / "models" / "sound", root, Limits(), findings)
    assert sound is not None
    assert sound.versions == []
    assert {finding.path for finding in findings.items} == set(links)


def test_a_data_set_that_lies_outside_is_not_read(tmp_path: Path) -> None:
    root, other = tmp_path / "mlruns", tmp_path / "other"
    for folder in (other, root / "1" / "datasets" / "in"):
        folder.mkdir(parents=True)
        (folder / "meta.yaml").write_text("name: a\ndigest: b\n")
    (root / "1" / "meta.yaml").write_text("name: x\n")
    (root / "1" / "datasets" / "out").symlink_to(other)
    findings = Findings()
    found = read_experiment(ExperimentFolder("1", root / "1", deleted=False), root, Limits(), findings)
    assert [dataset.folder for dataset in found.datasets] == ["in"]
    assert [finding.path for finding in findings.items] == ["1/datasets/out"]
