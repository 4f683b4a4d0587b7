"""`baton key`, and what the command line says to a part that asks for one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.asking import Part, ask
from cli.endpoints import Endpoints
from cli.main import make_app
from shared.errors import ForbiddenError
from shared.keys import Keys, new_key

KEY = new_key()


def test_a_key_is_let_in_by_its_line(tmp_path: Path) -> None:
    said = CliRunner().invoke(make_app(), ["key", "ann", "--json"])
    made = json.loads(said.stdout)
    (tmp_path / "keys").write_text(made["line"])
    keys = Keys(tmp_path / "keys")
    keys.read()
    assert keys.caller([(b"x-api-key", made["key"].encode())]) == "ann"
    plain = CliRunner().invoke(make_app(), ["key", "ann"])
    key, line = plain.stdout.split()
    assert key != made["key"]
    assert line.startswith("ann:")


class Asks(BaseHTTPRequestHandler):
    """Lets in who shows the key."""

    def do_GET(self) -> None:
        is_known = self.headers["authorization"] == f"Bearer {KEY}"
        self.send_response(200 if is_known else 401)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Asks) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("part", "variable"), [("predictor", "BATON_API_KEY"), ("promoter", "BATON_TOKEN")])
def test_a_missing_key_is_one_sentence(url: str, part: Part, variable: str) -> None:
    parts = {"nats": "", "predictor": url, "promoter": url, "mlflow": "", "database": ""}
    for key in ("", new_key()):
        with pytest.raises(ForbiddenError, match=f"{part} at {url} lets nobody in .* set {variable}"):
            ask(part, Endpoints(**parts, api_key=key, token=key), "GET", "/models")
    assert ask(part, Endpoints(**parts, api_key=KEY, token=KEY), "GET", "/models") == {}
