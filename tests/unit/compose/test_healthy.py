"""What a container's health check says."""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.servers import free_port

SCRIPT = Path(__file__).parents[3] / "compose" / "healthy.py"


def says(port: int, path: str) -> int:
    command = [sys.executable, "-IS", str(SCRIPT), str(port), path]
    return subprocess.run(command, capture_output=True, check=False).returncode


class Service(BaseHTTPRequestHandler):
    """Is healthy, and not ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(("path", "code"), [("/health", 0), ("/ready", 1)])
def test_the_status_of_a_service_counts(path: str, code: int) -> None:
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        answering = Thread(target=server.handle_request)
        answering.start()
        assert says(server.server_port, path) == code
        answering.join()


def test_nobody_that_answers_is_not_healthy() -> None:
    assert says(free_port(), "/health") == 1
