"""The artifacts' part: every file that MLflow's server keeps for runs and models, through its own artifact API."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx

from cli.asking import is_local
from shared.errors import BatonError, UnreachableError

API = "api/2.0/mlflow-artifacts/artifacts"


class Artifacts:
    """The artifact store behind an MLflow server that serves artifacts (`--serve-artifacts`, its default)."""

    def __init__(self, tracking_uri: str) -> None:
        self._address = f"{tracking_uri.rstrip('/')}/{API}"
        user, password = (os.environ.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
        account = (user, password) if user else None  # as MLflow's own client has it
        self._client = httpx.Client(timeout=60, trust_env=not is_local(tracking_uri), auth=account)

    def export(self, folder: Path) -> int:
        """Download every file into a folder; return how many."""
        count = 0
        for path in self._files(""):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._asked("GET", path) as answer, target.open("wb") as file:
                file.writelines(answer.iter_bytes())
            count += 1
        return count

    def restore(self, folder: Path) -> None:
        """Upload every file of a folder to where it was."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with self._asked("PUT", str(path.relative_to(folder)), path.read_bytes()):
                    pass

    def _files(self, path: str) -> Iterator[str]:
        with self._asked("GET", "", query={"path": path} if path else {}) as answer:
            answer.read()
            entries = answer.json().get("files", [])
        for entry in entries:
            below = f"{path}/{entry['path']}" if path else entry["path"]
            if entry.get("is_dir"):
                yield from self._files(below)
            else:
                yield below

    @contextmanager
    def _asked(
        self, method: str, path: str, content: bytes | None = None, query: dict[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        url = f"{self._address}/{quote(path)}" if path else self._address
        try:
            with self._client.stream(method, url, content=content, params=query) as answer:
                if answer.is_error:
                    answer.read()
                    raise BatonError(f"MLflow answered {answer.status_code} for {url}: {answer.text[:300]}")
                yield answer
        except httpx.TransportError as error:
            raise UnreachableError(f"MLflow does not answer at {url}: see MLFLOW_TRACKING_URI") from error
