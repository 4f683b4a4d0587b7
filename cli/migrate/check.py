"""What a verification has at hand: both sides, and the comparison that it fills."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class

from cli.migrate.artifacts import ArtifactStore, digest_folder
from cli.migrate.bounds import Bounds
from cli.migrate.comparison import Comparison
from cli.migrate.limits import Limits
from cli.migrate.locations import is_proxied, is_remote
from cli.migrate.target import TargetError
from shared.errors import UnreachableError
from shared.settings import sqlalchemy_url

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as TargetRun

PAGE = 500
T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """What the target remembers of a migration: by kind, what each item became and the digest of its artifacts."""

    targets: dict[str, dict[str, str]]
    digests: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Check:
    """Compares one source with one target; `every` is how often a run's whole metric history is read (1: always)."""

    client: "MlflowClient"
    connection: Connection
    root: Path
    limits: Limits
    store: ArtifactStore
    done: Done
    every: int
    comparison: Comparison
    bounds: Bounds = field(default_factory=Bounds)

    def artifacts(self, kind: str, key: str) -> None:
        """Compare the artifacts of an item with the digest that was taken when they were copied."""
        uri, digest = self.done.targets[kind][key], self.done.digests[kind][key]
        sent = is_remote(uri) or is_proxied(uri)
        if (digest and not sent) or (self.store.folder is not None and uri.startswith(self.store.root)):
            held = digest_folder(self.store.path_of(uri))
            if digest or held.digest:
                self.comparison.compare("artifact folder", key, [digest], [held.digest] if held.digest else None)

    def pages(self, experiment: str) -> Iterator["TargetRun"]:
        """Yield the target's runs of an experiment, deleted ones too."""
        from mlflow.entities import ViewType

        token = None
        while True:
            page = self.client.search_runs([experiment], "", ViewType.ALL, PAGE, ["start_time ASC"], token)
            yield from page
            token = page.token
            if not token:
                return


def found(ask: Callable[..., T], *words: str) -> T | None:
    """Return what MLflow's client finds, None if it says that there is nothing."""
    from mlflow.exceptions import MlflowException

    try:
        return ask(*words)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


@contextmanager
def client_of(url: str) -> Iterator["MlflowClient"]:
    """Yield MLflow's public client, on the database itself; what it cannot do there becomes one sentence."""
    warnings.filterwarnings("ignore", module="mlflow|sqlalchemy")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    uri = sqlalchemy_url(url)
    try:
        yield MlflowClient(uri, uri)
    except MlflowException as error:
        kind = UnreachableError if error.error_code == "TEMPORARILY_UNAVAILABLE" else TargetError
        raise kind(f"MLflow cannot read the database: {str(error).strip()}; run the same command again") from error
