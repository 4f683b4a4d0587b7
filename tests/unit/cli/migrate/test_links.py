"""Symbolic links that lead out of the source: nothing is read through them, wherever they stand."""

from pathlib import Path

from cli.migrate.findings import Findings
from cli.migrate.limits import Limits
from cli.migrate.links import REASON
from cli.migrate.meta import read_meta
from cli.migrate.run import read_run
from cli.migrate.tree import RunFolder, experiment_folders

RUN = "a" * 32


def test_a_meta_yaml_is_read_through_a_link_only_within_the_source(tmp_path: Path) -> None:
    root, secret = tmp_path / "mlruns", tmp_path / "secret.yaml"
    root.mkdir()
    for path in (secret, root / "other.yaml"):
        path.write_text("name: x\n")
    for name, target in (("out", secret), ("in", root / "other.yaml"), ("nowhere", tmp_path / "nothing")):
        (root / name).symlink_to(target)
    assert read_meta(root / "in", root).values == {"name": "x"}
    for name in ("out", "nowhere"):
        meta = read_meta(root / name, root)
        assert (meta.values, meta.problems) == ({}, [f"{name} is {REASON}"])


def test_inputs_and_outputs_are_read_through_links_only_within_the_source(tmp_path: Path) -> None:
    root, other = tmp_path / "mlruns", tmp_path / "other"
    run, model = root / "1" / RUN, "m-" + "1" * 32
    for folder in (run / "outputs", other / model):
        folder.mkdir(parents=True)
    for path in (run, other / model):
        (path / "meta.yaml").write_text(f"source_type: MODEL\nsource_id: {model}\nstart_time: 1\n")
    (run / "inputs").symlink_to(other)
    (run / "outputs" / model).symlink_to(other / model)
    findings = Findings()
    found = read_run(RunFolder("1", run), root, Limits(), findings)
    assert found is not None
    assert found.inputs == []
    assert [f.path for f in findings.items if f.kind in {"input", "output"}] == [
        f"1/{RUN}/inputs",
        f"1/{RUN}/outputs/{model}",
    ]


def test_a_trash_that_lies_outside_is_not_read(tmp_path: Path) -> None:
    root, other = tmp_path / "mlruns", tmp_path / "other"
    for folder in (root / "1", other / "2"):
        folder.mkdir(parents=True)
        (folder / "meta.yaml").write_text("name: x\n")
    (root / ".trash").symlink_to(other)
    findings = Findings()
    assert [folder.id for folder in experiment_folders(root, findings)] == ["1"]
    assert [finding.path for finding in findings.items] == [".trash/2"]
