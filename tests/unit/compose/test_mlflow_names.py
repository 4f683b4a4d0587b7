"""Under which names MLflow's container answers, and to whose pages."""

import pytest

from compose.mlflow_server import reached

HERE = "localhost,localhost:*,127.0.0.1,127.0.0.1:*,mlflow,mlflow:*"
MORE = "10.0.0.7,10.0.0.7:*,a.example,a.example:*,b.example:8443,b.example:8443:*"


@pytest.mark.parametrize(
    ("bound", "more", "hosts"),
    [
        ("", "", HERE),
        ("[::]", "", HERE),  # no name that a pattern can hold
        ("10.0.0.7", "", f"{HERE},10.0.0.7,10.0.0.7:*"),
        ("10.0.0.7", "a.example, b.example:8443,", f"{HERE},{MORE}"),
    ],
)
def test_services_reach_it_whatever_else_is_named(bound: str, more: str, hosts: str) -> None:
    assert reached(bound, "5000", more)["MLFLOW_SERVER_ALLOWED_HOSTS"] == hosts


def test_origins_are_said_literally() -> None:
    origins = reached("10.0.0.7", "5001", "a.example")["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert {"http://10.0.0.7:5001", "https://a.example"} <= set(origins)
    assert not any(sign in origin for origin in origins for sign in "*[]?$^()\\")


@pytest.mark.parametrize("more", ["*", "a.example:*", "http://a.example", "[::1]", "a b"])
def test_what_is_no_name_is_refused(more: str) -> None:
    with pytest.raises(SystemExit, match=r"BATON_MLFLOW_HOSTS: .* is no name of a host"):
        reached("", "5000", more)
