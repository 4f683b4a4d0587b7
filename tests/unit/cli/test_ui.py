"""What the read-only pages let through."""

import pytest

from cli.ui.read_only import is_reading


@pytest.mark.parametrize(
    ("method", "path", "passes"),
    [
        ("GET", "/api/2.0/mlflow/runs/get", True),
        ("POST", "/api/2.0/mlflow/runs/search", True),
        ("POST", "/graphql", True),
        ("POST", "/api/2.0/mlflow/runs/delete", False),
        ("POST", "/api/2.0/mlflow/runs/create", False),
        ("PATCH", "/api/2.0/mlflow/model-versions/update", False),
        ("DELETE", "/api/2.0/mlflow/registered-models/delete", False),
    ],
)
def test_only_questions_pass(method: str, path: str, *, passes: bool) -> None:
    assert is_reading(method, path) is passes
