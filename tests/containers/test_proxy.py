"""The proxy on a busy machine: who answers late whether he is ready is asked all the same, where nobody else is."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from scripts.compose_sizes import docker
from tests.containers.conftest import ROOT
from tests.servers import answers, wait_for

pytestmark = pytest.mark.timeout(300)
PYTHON = os.environ.get("BATON_PYTHON_IMAGE", "python:3.11-slim")
CHECKS = 6  # each would count against him
# Answers `/ready` late, everything else at once, by how often it was asked for `/ready`.
LATE = """
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
checked = 0
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        global checked
        if self.path == "/ready":
            checked += 1
            time.sleep(0.7)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(checked).encode())
ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


@pytest.fixture
def url(proxy_image: str) -> Iterator[str]:
    """Where the proxy answers that has one predictor, which is late."""
    name = f"baton-proxy-{os.getpid()}"
    with ExitStack() as ends:
        docker("network", "create", name)
        ends.callback(docker, "network", "rm", name)
        options = ("run", "--detach", "--init", "--network", name)
        late = docker(*options, "--network-alias", "predictor", PYTHON, "python", "-c", LATE)
        ends.callback(docker, "rm", "--force", late)
        mounted = f"{ROOT / 'compose' / 'proxy'}:/etc/baton:ro"
        published = ("--publish", "127.0.0.1::8000", "--volume", mounted)
        proxy = docker(*options, *published, proxy_image, "haproxy", "-W", "-db", "-f", "/etc/baton/haproxy.cfg")
        ends.callback(docker, "rm", "--force", proxy)
        yield f"http://{docker('port', proxy, '8000').splitlines()[0]}"


def test_a_predictor_that_answers_checks_late_is_asked(url: str) -> None:
    wait_for("the first answer", answers(url))
    with httpx.Client(trust_env=False) as client:
        checked = first = int(client.get(url).text)
        while checked < first + CHECKS:
            answer = client.get(url)
            assert answer.status_code == 200, f"after {checked - first} checks"
            checked = int(answer.text)
