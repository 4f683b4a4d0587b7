"""MLflow's registry and runs, as Baton uses them: the only door to MLflow for trainer and promoter.

All methods block (MLflow's client is synchronous): call them in a thread. Aliases say what is served; stages are kept
in step for those who read them.
"""

import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.validation import _validate_model_name

from shared.errors import ForbiddenError, PromotionConflictError, RegistryError, UnreachableError
from shared.mlflow_errors import OUT_OF_DATE, is_missing, is_transient, unreadable
from shared.versions import (
    CHAMPION,
    PRODUCTION,
    TAG_BUNDLE,
    TAG_REQUEST,
    Registered,
    Version,
    read_model,
    read_version,
)

Anything = TypeVar("Anything")


class Registry:
    """One MLflow server, reached through its REST API; a call waits up to `patience_s` seconds for it to be there."""

    def __init__(self, tracking_uri: str, patience_s: float = 60.0) -> None:
        self.tracking_uri = tracking_uri
        self._patience_s = patience_s
        # MLflow's client repeats seven times with growing pauses, so a restarted server goes unnoticed for minutes;
        # `_patiently` repeats at an even pace instead.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        self.client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def champion(self, model: str) -> Version | None:
        """Return the version that the alias `champion` points to."""
        try:
            return read_version(self._patiently(lambda: self.client.get_model_version_by_alias(model, CHAMPION)))
        except MlflowException as error:
            if is_missing(error):
                return None
            raise RegistryError(f"MLflow could not say who is champion of {model}: {error.message}") from error

    def models(self) -> list[str]:
        """Return the names of all models, in order."""
        return [found.model for found in self.registered()]

    def registered(self) -> list[Registered]:
        """Return all models, in order."""
        found, token = [], None
        while True:
            page = self._patiently(partial(self.client.search_registered_models, max_results=1000, page_token=token))
            found += [read_model(entry) for entry in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda registered: registered.model)

    def version(self, model: str, version: str) -> Version | None:
        """Return one version, None if there is no such."""
        try:
            return read_version(self._patiently(lambda: self.client.get_model_version(model, version)))
        except MlflowException as error:
            if is_missing(error):
                return None
            raise RegistryError(f"MLflow could not return {model} version {version}: {error.message}") from error

    def newest_version(self, model: str) -> Version | None:
        """Return the version that was registered last."""
        query = f"name = {_quoted(model)}"
        found = self._patiently(
            lambda: self.client.search_model_versions(query, max_results=1, order_by=["version_number DESC"])
        )
        return read_version(found[0]) if found else None

    def versions(self, model: str) -> list[Version]:
        """Return every version of a model, oldest first."""
        query, found, token = f"name = {_quoted(model)}", [], None
        while True:
            page = self._patiently(partial(self.client.search_model_versions, query, page_token=token))
            found += [read_version(entry) for entry in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda version: int(version.version))

    def aliases(self, model: str) -> dict[str, str]:
        """Return the version that each of a model's aliases points to."""
        try:
            found = self._patiently(lambda: self.client.get_registered_model(model))
        except MlflowException as error:
            raise RegistryError(f"MLflow could not return {model}: {error.message}") from error
        return {alias: str(version) for alias, version in found.aliases.items()}

    def versions_with_bundle(self, digest: str) -> list[Version]:
        """Return the versions of all models that say that this is the digest of their bundle."""
        query = f"tags.`{TAG_BUNDLE}` LIKE '%{digest}%'"
        found = self._patiently(lambda: self.client.search_model_versions(query))
        return [read_version(entry) for entry in found]

    def delete_version(self, model: str, version: str) -> None:
        """Delete a version and the aliases that point to it; its run stays. One that is gone already is no error."""
        try:
            self._patiently(lambda: self.client.delete_model_version(model, version))
        except MlflowException as error:
            if not is_missing(error):
                raise RegistryError(f"MLflow refused to delete {model} version {version}: {error.message}") from error

    def version_of_request(self, model: str, request_id: str) -> Version | None:
        """Return the version that a train request led to, if it got that far."""
        query = f"name = {_quoted(model)} and tags.`{TAG_REQUEST}` = {_quoted(request_id)}"
        found = self._patiently(lambda: self.client.search_model_versions(query, max_results=1))
        return read_version(found[0]) if found else None

    def register(self, model: str, *, source: str, run_id: str, model_id: str | None, tags: dict[str, str]) -> Version:
        """Create the next version of a model with its tags in one transaction; the model is created if it is new."""
        self._ensure_model(model)
        try:
            made = self._patiently(
                lambda: self.client.create_model_version(model, source, run_id=run_id, tags=tags, model_id=model_id)
            )
        except MlflowException as error:
            raise RegistryError(f"MLflow refused a new version of {model}: {error.message}") from error
        return read_version(made)

    @staticmethod
    def check_name(model: str) -> None:
        """Raise `RegistryError` for a model's name that MLflow would not take."""
        try:
            _validate_model_name(model)
            _quoted(model)
        except MlflowException as error:
            raise RegistryError(f"MLflow refused the model name {model!r}: {error.message}") from error

    def _ensure_model(self, model: str) -> None:
        try:
            self._patiently(lambda: self.client.create_registered_model(model))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise RegistryError(f"MLflow refused the model name {model!r}: {error.message}") from error

    def promote(self, model: str, version: str) -> None:
        """Point the alias `champion` at a version: the commit that is the promotion.

        Raise `PromotionConflictError` if the promotion was judged against a champion that is champion no more.
        """
        try:
            self._patiently(lambda: self.client.set_registered_model_alias(model, CHAMPION, version))
        except MlflowException as error:
            if OUT_OF_DATE in error.message:
                raise PromotionConflictError(
                    f"{model} version {version} was judged against an older champion"
                ) from error
            raise RegistryError(f"MLflow refused to promote {model} version {version}: {error.message}") from error

    def put_in_production(self, model: str, version: str) -> None:
        """Move a version to the stage Production, and archive every other that is there."""
        with warnings.catch_warnings():  # stages are deprecated, and still what many read
            warnings.simplefilter("ignore", FutureWarning)
            move = partial(self.client.transition_model_version_stage, model, version, PRODUCTION)
            try:
                self._patiently(lambda: move(archive_existing_versions=True))
            except MlflowException as error:
                raise RegistryError(
                    f"MLflow refused {model} version {version} in Production: {error.message}"
                ) from error

    def metrics(self, run_id: str) -> dict[str, float]:
        """Return the last value of each metric of a run."""
        try:
            return dict(self._patiently(lambda: self.client.get_run(run_id)).data.metrics)
        except MlflowException as error:
            raise RegistryError(f"run {run_id} cannot be read: {error.message}") from error

    def tag(self, model: str, version: str, key: str, value: str) -> None:
        """Set a tag on a version."""
        try:
            self._patiently(lambda: self.client.set_model_version_tag(model, version, key, value))
        except MlflowException as error:
            raise RegistryError(
                f"MLflow refused the tag {key} on {model} version {version}: {error.message}"
            ) from error

    def download(self, run_id: str, artifact: str, folder: Path) -> Path:
        """Download one artifact of a run into a folder and return its path; `MissingArtifactError` if there is none."""

        def find() -> str:  # not by `run_id`: MLflow then says of any failure that there is no such artifact
            return f"{self.client.get_run(run_id).info.artifact_uri}/{artifact}"

        return self._download(f"artifact {artifact} of run {run_id}", find, folder)

    def download_model(self, model: str, version: str, folder: Path) -> Path:
        """Download a version's MLflow model and return its folder; `MissingArtifactError` if its files are gone."""

        def find() -> str:
            return self.client.get_model_version_download_uri(model, version)

        return self._download(f"files of {model} version {version}", find, folder)

    def _download(self, what: str, find: Callable[[], str], folder: Path) -> Path:
        where = {"dst_path": str(folder), "tracking_uri": self.tracking_uri, "registry_uri": self.tracking_uri}
        try:
            return Path(self._patiently(lambda: mlflow.artifacts.download_artifacts(find(), **where)))
        except (MlflowException, OSError) as error:
            raise unreadable(what, error) from error

    def _patiently(self, attempt: Callable[[], Anything]) -> Anything:
        """Repeat while MLflow is away or restarting; what it answers is another matter."""
        ends = time.monotonic() + self._patience_s
        while True:
            try:
                return attempt()
            except MlflowException as error:
                if not is_transient(error):
                    raise self._denied(error) or error from error
                if time.monotonic() > ends:
                    raise UnreachableError(
                        f"MLflow at {self.tracking_uri} did not answer within {self._patience_s:.0f} s: {error.message}"
                    ) from error
                time.sleep(0.5)

    def _denied(self, error: MlflowException) -> ForbiddenError | None:
        """Return what to raise where MLflow does not know us, or does not let us."""
        account = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        if error.error_code == "UNAUTHENTICATED":
            return ForbiddenError(f"MLflow at {self.tracking_uri} does not know this user or password: set {account}")
        if "Invalid Host header" in str(error.message):
            allowed = "BATON_MLFLOW_HOSTS in the containers, MLFLOW_SERVER_ALLOWED_HOSTS elsewhere"
            return ForbiddenError(f"MLflow at {self.tracking_uri} does not answer under this name: add it to {allowed}")
        if error.error_code == "PERMISSION_DENIED":
            return ForbiddenError(f"MLflow at {self.tracking_uri} does not let this user do that: see {account}")
        return None


def _quoted(value: str) -> str:
    # MLflow's filters know both quotes and no way to escape either.
    quote = '"' if "'" in value else "'"
    if quote in value:
        raise RegistryError(f"MLflow cannot search for {value!r}: rename it so that it holds one kind of quote only")
    return f"{quote}{value}{quote}"
