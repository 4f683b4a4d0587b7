"""Kinds of damage to a FileStore: how each is done, what the report must say, and what must have become of it.

Each case has an experiment of its own, with a sound run `GOOD` beside the damage.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli import output
from tests.integration.raw_filestore import experiment, model, run, value, version, write_meta

Harm = Callable[[Path, Path, Path], None]  # the source's root, the case's experiment, its sound run


@dataclass(frozen=True)
class Case:
    """One kind of damage; `runs` is how many runs of its experiment go through."""

    name: str
    harm: Harm
    action: str | None
    says: str = ""
    runs: int = 1
    sql: str = ""
    answer: object = None

    @property
    def code(self) -> int:
        """Return the exit code that the guide promises for a store with this damage alone."""
        return output.PARTLY if self.action == "quarantined" else output.DONE


def numpy_scalar(kind: str, binary: str) -> str:
    dtype = f"!!python/object/apply:numpy.dtype\n    args: [{kind}, false, true]\n    state: !!python/tuple [3, <]"
    return f"!!python/object/apply:numpy.core.multiarray.scalar\n  - {dtype}\n  - !!binary |\n    {binary}"


def on_meta(change: Callable[[Path], None]) -> Harm:
    return lambda _root, _folder, good: change(good / "meta.yaml")


def on_experiment(change: Callable[[Path], None]) -> Harm:
    return lambda _root, folder, _good: change(folder / "meta.yaml")


def on_value(name: str, content: str | bytes) -> Harm:
    return lambda _root, _folder, good: void(value(good, name, content))


def void(_: object) -> None:
    return None


def empty(path: Path) -> None:
    path.write_text("")


def into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_line(key: str, text: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{key}:")]
        path.write_text("\n".join([*lines, f"{key}: {text}"]) + "\n")

    return change


def truncate(path: Path) -> None:
    text = path.read_text()
    path.write_text(text[: text.index("run_id: ") + 12] if "run_id: " in text else text[: text.index("name: ") + 7])


def link(name: str, target: str) -> Harm:
    def harm(_root: Path, _folder: Path, good: Path) -> None:
        (good / name).parent.mkdir(parents=True, exist_ok=True)
        (good / name).symlink_to(target)

    return harm


def copied_inside(_root: Path, folder: Path, good: Path) -> None:
    shutil.copytree(good, folder / f"{good.name} (copy)")


def copied_elsewhere(root: Path, _folder: Path, good: Path) -> None:
    shutil.copytree(good, experiment(root, "9000001", "elsewhere") / good.name)


def registry(name: str, change: Callable[[Path, Path], None]) -> Harm:
    def harm(root: Path, _folder: Path, good: Path) -> None:
        folder = model(root, name, chosen=1)
        version(folder, 1, good)
        change(folder, good)

    return harm


def second_version(content: object) -> Callable[[Path, Path], None]:
    def change(folder: Path, good: Path) -> None:
        version(folder, 2, good)
        value(folder, "aliases/other", "2")
        if content is None:
            (folder / "version-2" / "meta.yaml").write_text("")
        else:
            write_meta(folder / "version-2", content)

    return change


def two_in_production(folder: Path, good: Path) -> None:
    for number in (2, 3):
        version(folder, number, good, current_stage="Production")


def same_name(root: Path, folder: Path, _good: Path) -> None:
    run(experiment(root, "9000002", f"case-{folder.name}"))


def trashed(root: Path, _folder: Path, _good: Path) -> None:
    run(experiment(root / ".trash", "9000003", "thrown away", lifecycle_stage="deleted"), lifecycle_stage="deleted")


def params_a_file(_root: Path, _folder: Path, good: Path) -> None:
    shutil.rmtree(good / "params")
    value(good, "params", "1")


def nul_in_input(_root: Path, _folder: Path, good: Path) -> None:
    tags = {"n\0ul": "tr\0ain"}
    write_meta(good / "inputs" / "abd", {"source_type": "MODEL", "source_id": "m-" + "1" * 32, "tags": tags})


def folder_linked_out(part: str) -> Harm:
    """Put a folder of a run out of the source, and a link in its place."""

    def harm(root: Path, _folder: Path, good: Path) -> None:
        outside = root.parent / f"outside-{part}"
        write_meta(outside / ("m-" + "2" * 32), {"source_type": "MODEL", "source_id": "m-" + "2" * 32, "step": 3})
        (good / part).symlink_to(outside)

    return harm


def meta_linked_out(root: Path, _folder: Path, good: Path) -> None:
    outside = root.parent / "outside.yaml"
    outside.write_text((good / "meta.yaml").read_text().replace("the name", "a secret"))
    (good / "meta.yaml").unlink()
    (good / "meta.yaml").symlink_to(outside)


def input_linked_out(root: Path, _folder: Path, good: Path) -> None:
    outside = root.parent / "outside-input"
    write_meta(outside, {"source_type": "MODEL", "source_id": "m-" + "3" * 32, "tags": {}})
    (good / "inputs").mkdir()
    (good / "inputs" / "abe").symlink_to(outside)


def lost_input(_root: Path, _folder: Path, good: Path) -> None:
    write_meta(good / "inputs" / "abc", {"source_type": "DATASET", "source_id": "gone", "tags": {}})


RUN_NAME = "SELECT r.name FROM runs r JOIN experiments e USING (experiment_id) WHERE e.name = %s"
STATUS = RUN_NAME.replace("r.name", "r.status")
START = RUN_NAME.replace("r.name", "r.start_time")
PARAM = "SELECT value FROM params p JOIN runs r USING (run_uuid) JOIN experiments e USING (experiment_id) \
WHERE e.name = %s AND key = 'q'"
POINTS = "SELECT count(*) FROM metrics m JOIN runs r USING (run_uuid) JOIN experiments e USING (experiment_id) \
WHERE e.name = %s AND key = 'q'"
VERSIONS = "SELECT string_agg(version || ':' || current_stage, ' ' ORDER BY version) FROM model_versions WHERE name = "
ALIASES = "SELECT string_agg(alias || ':' || version, ' ' ORDER BY alias) FROM registered_model_aliases WHERE name = "
EDGES = "SELECT count(*) FROM inputs i JOIN runs r ON i.source_id = r.run_uuid JOIN experiments e \
USING (experiment_id) WHERE e.name = %s"
INPUT_TAG = "SELECT value FROM input_tags WHERE name = 'nul'"

CASES = [
    Case("experiment meta empty", on_experiment(empty), "repaired", "is empty"),
    Case("experiment meta truncated", on_experiment(truncate), "repaired", "truncated"),
    Case("experiment meta a list", on_experiment(lambda p: void(p.write_text("- a\n- b\n"))), "repaired", "a list"),
    Case("experiment meta missing", on_experiment(Path.unlink), "repaired", "missing"),
    Case("experiment without a name", on_experiment(replace_line("name", "")), "repaired", "no name"),
    Case("empty folder", lambda root, *_: (root / "9000009").mkdir(), "quarantined", "nothing to migrate"),
    Case("two experiments of one name", same_name, "repaired", "another experiment"),
    Case("run meta missing", on_meta(Path.unlink), "repaired", "missing", sql=RUN_NAME, answer="the name"),
    Case("run meta empty", on_meta(empty), "repaired", "is empty", sql=START, answer=1_600_000_001_500),
    Case("run meta truncated", on_meta(truncate), "repaired", "truncated", sql=STATUS, answer="KILLED"),
    Case("run meta a text", on_meta(lambda p: void(p.write_text("hello\n"))), "repaired", "holds a str"),
    Case("run meta not YAML", on_meta(lambda p: void(p.write_text("status: 3\nx: [1\n"))), "repaired", "not valid",
         sql=STATUS, answer="FINISHED"),
    Case("run meta binary", on_meta(lambda p: void(p.write_bytes(b"\x80\xff\x00\n"))), "repaired", "UTF-8"),
    Case("numpy integer", on_meta(replace_line("start_time", numpy_scalar("i8", "0g7OFUsBAAA="))), "repaired",
         "Python objects", sql=START, answer=1_422_000_000_722),
    Case("numpy text", on_meta(replace_line("run_name", numpy_scalar("U2", "aAAAAGkAAAA="))), "repaired",
         "Python objects", sql=RUN_NAME, answer="hi"),
    Case("enum", on_meta(replace_line("lifecycle_stage", "!!python/object/apply:a.Stage\n- deleted")), "repaired",
         "Python objects"),
    Case("code in YAML", on_meta(replace_line("user_id", '!!python/object/apply:os.system\n- "touch /tmp/pwned"')),
         "repaired", "Python objects"),
    Case("unknown object", on_meta(replace_line("run_name", "!!python/object:x.Y {a: 1}")), "repaired", "Python object",
         sql=RUN_NAME, answer="the name"),
    Case("status unknown", on_meta(replace_line("status", "99")), "repaired", "does not know", sql=STATUS,
         answer="KILLED"),
    Case("time not a number", on_meta(replace_line("end_time", "soon")), "repaired", "whole number"),
    Case("time beyond bigint", on_meta(replace_line("end_time", "9" * 30)), "repaired", "whole number"),
    Case("name too long", on_meta(replace_line("run_name", "x" * 400)), "repaired", "cut"),
    Case("empty run folder", lambda _, folder, __: (folder / ("a" * 32)).mkdir(), "quarantined", "an empty folder"),
    Case("run copied beside itself", copied_inside, "quarantined", "a copy"),
    Case("run copied to another experiment", copied_elsewhere, "quarantined", "a copy"),
    Case("param too long", on_value("params/q", "x" * 9000), "repaired", "longer than the 8,000 characters", sql=PARAM,
         answer="x" * 8000),
    Case("param not UTF-8", on_value("params/q", b"a\xff"), "repaired", "not UTF-8", sql=PARAM, answer="a\ufffd"),
    Case("param with NUL", on_value("params/q", b"a\x00b"), "repaired", "NUL", sql=PARAM, answer="ab"),
    Case("param name too long", on_value(f"params/{'x' * 200}/{'y' * 200}", "1"), "quarantined", "401 characters"),
    Case("file name not UTF-8", on_value("params/q\udcff", "1"), "repaired", "bad bytes"),
    Case("metric line cut in half", on_value("metrics/q", "1 0.5 0\n2 0.7"), "quarantined", "cut off", sql=POINTS,
         answer=1),
    Case("metric line malformed", on_value("metrics/q", "1 0.5 0\n\nno\n3 0.5 2\n"), "quarantined", "not a metric",
         sql=POINTS, answer=2),
    Case("metric time beyond bigint", on_value("metrics/q", f"{'9' * 30} 0.5 0\n1 0.5 0\n"), "quarantined",
         "not a metric", sql=POINTS, answer=1),
    Case("metric file of garbage", on_value("metrics/q", b"garbage\n" * 5000 + b"1 0.5 0\n"), "quarantined",
         "more lines", sql=POINTS, answer=1),
    Case("metric line without end", on_value("metrics/q", b"x" * 100_000), "quarantined", "too long"),
    Case("metric file empty", on_value("metrics/q", ""), "quarantined", "no point"),
    Case("metric lines twice", on_value("metrics/q", "1 0.5 0\n1 0.5 0\n"), None, sql=POINTS, answer=1),
    Case("NaN and infinity", on_value("metrics/q", "1 nan 0\n2 inf 1\n3 -inf 2\n"), None, sql=POINTS, answer=3),
    Case("link out of the source", link("params/q", "/etc/hostname"), "quarantined", "leads out"),
    Case("link to nowhere", link("tags/q", "/nowhere"), "quarantined", "leads out"),
    Case("artifact linked out", link("artifacts/q", "/etc/hostname"), "quarantined", "leads out"),
    Case("artifact link in a circle", link("artifacts/q", "."), None),
    Case("run linked out", lambda _, folder, __: (folder / ("b" * 32)).symlink_to("/etc"), "quarantined", "leads out"),
    Case("run meta linked out", meta_linked_out, "repaired", "leads out", sql=RUN_NAME, answer="the name"),
    Case("inputs linked out", folder_linked_out("inputs"), "quarantined", "leads out", sql=EDGES, answer=0),
    Case("outputs linked out", folder_linked_out("outputs"), "quarantined", "leads out", sql=EDGES, answer=0),
    Case("input linked out", input_linked_out, "quarantined", "leads out", sql=EDGES, answer=0),
    Case("output without step", lambda _, __, good: void(value(good, f"outputs/m-{'4' * 32}/meta.yaml", "")),
         "repaired", "step 0", sql=EDGES, answer=1),
    Case("input without data set", lost_input, "quarantined", "names data set gone"),
    Case("NUL in an input's tag", nul_in_input, "repaired", "cannot: taken out", sql=INPUT_TAG, answer="train"),
    Case("start not a number", on_meta(replace_line("start_time", "soon")), "repaired", "no start_time", sql=START,
         answer=1_600_000_001_500),
    Case("no user", on_meta(replace_line("user_id", "")), None),
    Case("run id a list", on_meta(replace_line("run_id", "[1]")), "repaired", "unusable"),
    Case("YAML that explodes", on_meta(replace_line("user_id", "\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20)) + "end_time: *a19")), "repaired",
         "whole number"),
    Case("meta.yaml a folder", on_meta(into_a_folder), "repaired", "no file"),
    Case("params a file", params_a_file, "quarantined", "cannot be read"),
    Case("output not UTF-8", lambda _, __, good: write_meta(good / "outputs" / "m\udcff", {}), "quarantined",
         "no data set"),
    Case("input of an endless name", lambda _, __, good: write_meta(
        good / "inputs" / "abc", {"source_type": "MODEL_INPUT", "source_id": "m-" + "x" * 90}), "quarantined",
         "names no data set"),
    Case("logged model meta empty", lambda _, folder, __: void(value(folder, "models/m-1/meta.yaml", "")),
         "quarantined", "is empty"),
    Case("deleted experiment", trashed, None),
    Case("version meta empty", registry("v-empty", second_version(None)), "quarantined", "is empty",
         sql=f"{VERSIONS}'v-empty'", answer="1:None"),
    Case("version without source", registry("v-source", second_version({"version": 2})), "quarantined", "no source",
         sql=f"{ALIASES}'v-source'", answer="chosen:1"),
    Case("stage unknown", registry("v-stage", lambda f, good: void(version(f, 2, good, current_stage="Live"))),
         "repaired", "does not know", sql=f"{VERSIONS}'v-stage'", answer="1:None 2:None"),
    Case("model meta missing", registry("v-meta", lambda f, _: (f / "meta.yaml").unlink()), "repaired", "missing",
         sql=f"{VERSIONS}'v-meta'", answer="1:None"),
    Case("model copied", registry("v-copied", lambda f, _: void(shutil.copytree(f, f.with_name("v-copied (2)")))),
         "quarantined", "a copy", sql=f"{VERSIONS}'v-copied'", answer="1:None"),
    Case("strange version folder", registry("v-strange", lambda f, _: void(
        shutil.copytree(f / "version-1", f / "version-one"))), "quarantined", "no version's",
         sql=f"{VERSIONS}'v-strange'",
         answer="1:None"),
    Case("alias of nothing", registry("v-alias", lambda f, _: void(value(f, "aliases/x", "lots"))), "quarantined",
         "no version's number", sql=f"{ALIASES}'v-alias'", answer="chosen:1"),
    Case("two versions in Production",
         registry("v-two", two_in_production),
         "noted", "newest of", sql=f"{ALIASES}'v-two'", answer="champion:3 chosen:1"),
    Case("no files behind a version", registry("v-files", lambda f, good: void(version(
        f, 2, good, source="/nowhere/model", storage_location=None))), "noted", "cannot be loaded"),
]  # fmt: skip


def build(root: Path, cases: list[Case]) -> dict[str, tuple[Path, Path]]:
    """Write a store with these damages; return the experiment's folder and the sound run's of each case."""
    made = {}
    for case in cases:
        number = CASES.index(case) + 1
        folder = experiment(root, str(number), f"case-{number}")
        made[case.name] = (folder, run(folder))
    for case in cases:
        case.harm(root, *made[case.name])
    return made
