"""The whole from outside, as users see it."""

from collections.abc import Iterator

import pytest

from tests.e2e.serving import Serving, serving


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-seconds", type=int, default=20, help="how long schemathesis asks (300 to be thorough)")


@pytest.fixture(scope="session")
def heart(tmp_path_factory: pytest.TempPathFactory, nats_url: str) -> Iterator[Serving]:
    with serving(nats_url, tmp_path_factory.mktemp("heart")) as running:
        yield running
