"""COPY's text format and the rewriting of places."""

import pytest

from cli.migrate.locations import inside_logged_model, inside_run, is_remote
from cli.migrate.rows import encode


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, r"\N"),
        ("a\tb\nc\\d\r", r"a\tb\nc\\d\r"),
        (r"\N", r"\\N"),
        (True, "t"),
        (1.5e-300, "1.5e-300"),
        (7, "7"),
    ],
)
def test_values_survive_copy(value: object, text: str) -> None:
    assert encode(value) == text


@pytest.mark.parametrize(
    ("uri", "run", "model", "remote"),
    [
        ("file:///x/mlruns/1/abc/artifacts/model", [("abc", "/model")], [], False),
        ("./mlruns/1/abc/artifacts", [("abc", "")], [], False),
        ("/x/mlruns/1/models/m-1/artifacts", [("m-1", "")], [("m-1", "")], False),
        ("s3://bucket/1/abc/artifacts", [("abc", "")], [], True),
        ("mlflow-artifacts:/1/abc/artifacts", [("abc", "")], [], False),
        ("C:/mlruns/1/abc/artifacts", [("abc", "")], [], False),
        ("/data/model", [], [], False),
        ("/data/artifacts/1/abc/artifacts/m", [("data", "/1/abc/artifacts/m"), ("abc", "/m")], [], False),
        ("/x/artifacts/artifacts/m", [("x", "/artifacts/m"), ("artifacts", "/m")], [], False),
    ],
)
def test_old_places_are_understood_wherever_the_store_was(
    uri: str, run: list[tuple[str, str]], model: list[tuple[str, str]], *, remote: bool
) -> None:
    assert (inside_run(uri), inside_logged_model(uri), is_remote(uri)) == (run, model, remote)
