"""Writing what is few: experiments, registered models and their champions, one transaction each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from psycopg2.extras import execute_values

from cli.migrate import records
from cli.migrate.artifacts import ArtifactStore
from cli.migrate.batch import LOGGED_MODEL, RUN
from cli.migrate.experiment import Dataset, Experiment
from cli.migrate.findings import Findings
from cli.migrate.locations import Locations, inside_logged_model, inside_run, is_remote, local_path
from cli.migrate.plan import EXPERIMENT, MODEL, is_default
from cli.migrate.registered import CHAMPION, Registered, Version
from cli.migrate.target import next_experiment_id, transaction

WORKSPACE = "default"
VERSION, ALIAS, CHAMPIONS = "model version", "alias", "champion"


@dataclass(frozen=True)
class Writer:
    """Writes into one target on behalf of one source."""

    connection: Connection
    source: str
    root: Path
    store: ArtifactStore
    findings: Findings

    def experiment(self, experiment: Experiment) -> tuple[int, dict[str, str]]:
        """Create an experiment, or find the one that an earlier attempt created.

        Return its new id and the new id of each of its data sets.
        """
        with transaction(self.connection) as cursor:
            known = records.done(cursor, self.source, EXPERIMENT).get(experiment.id)
            number = int(known) if known is not None else self._create(cursor, experiment)
            return number, _datasets(cursor, number, experiment.datasets)

    def _create(self, cursor: Cursor, experiment: Experiment) -> int:
        number = 0 if is_default(experiment) else next_experiment_id(cursor)
        old = experiment.artifact_location
        location = old if old and is_remote(old) else Locations(self.store.root).experiment(number)
        cursor.execute(
            """
            INSERT INTO experiments (experiment_id, name, workspace, artifact_location, lifecycle_stage, creation_time,
                last_update_time) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (experiment_id) DO NOTHING
            """,
            (
                number,
                experiment.name,
                WORKSPACE,
                location,
                experiment.lifecycle,
                experiment.created,
                experiment.updated,
            ),
        )
        tags = [(key, value, number) for key, value in experiment.tags.items()]
        _insert(cursor, "experiment_tags (key, value, experiment_id)", tags)
        records.claim(cursor, self.source, EXPERIMENT, [experiment.id])
        records.finish(cursor, self.source, EXPERIMENT, [(experiment.id, str(number), str(experiment.origin))])
        return number

    def model(self, model: Registered, key: str) -> bool:
        """Create a registered model with versions and aliases, all but `champion`; `key` is its name in the source.

        Of one that an earlier attempt created only versions and aliases are written that it did not have then. Return
        whether the model is new.
        """
        with transaction(self.connection) as cursor:
            known = records.target_of(cursor, self.source, MODEL, key)
            if known is None:
                self._create_model(cursor, model, key)
            else:
                model.name = known
            if _stands(cursor, model.name):
                self._versions(cursor, model)
                self._aliases(cursor, model)
            records.keep(cursor, self.source, self.findings)
        return known is None

    def _create_model(self, cursor: Cursor, model: Registered, key: str) -> None:
        cursor.execute(
            "INSERT INTO registered_models (workspace, name, creation_time, last_updated_time, description) "
            "VALUES (%s, %s, %s, %s, %s)",
            (WORKSPACE, model.name, model.created, model.updated, model.description),
        )
        tags = [(WORKSPACE, model.name, name, value) for name, value in model.tags.items()]
        _insert(cursor, "registered_model_tags (workspace, name, key, value)", tags)
        records.claim(cursor, self.source, MODEL, [key])
        records.finish(cursor, self.source, MODEL, [(key, model.name, str(model.origin))])

    def _aliases(self, cursor: Cursor, model: Registered) -> None:
        places = {f"{model.where}/aliases/{alias}": alias for alias in model.aliases if alias != CHAMPION}
        new = [places[place] for place in sorted(records.claim(cursor, self.source, ALIAS, places))]
        rows = [(WORKSPACE, model.name, alias, model.aliases[alias]) for alias in new]
        _insert(cursor, "registered_model_aliases (workspace, name, alias, version)", rows)

    def _versions(self, cursor: Cursor, model: Registered) -> None:
        new = records.claim(cursor, self.source, VERSION, [version.where for version in model.versions])
        rows, tags = [], []
        for version in (version for version in model.versions if version.where in new):
            source = self._uri(cursor, version.source, model, version)
            storage = (
                source if version.storage == version.source else self._uri(cursor, version.storage, model, version)
            )
            rows.append((
                WORKSPACE, model.name, version.number, version.created, version.updated, version.description,
                version.user, version.stage, source, storage, version.run_id, version.run_link, version.status,
                version.status_message,
            ))  # fmt: skip
            tags += [(WORKSPACE, model.name, version.number, key, value) for key, value in version.tags.items()]
        _insert(
            cursor,
            "model_versions (workspace, name, version, creation_time, last_updated_time, description, user_id, "
            "current_stage, source, storage_location, run_id, run_link, status, status_message)",
            rows,
        )
        _insert(cursor, "model_version_tags (workspace, name, version, key, value)", tags)

    def _uri(self, cursor: Cursor, uri: str | None, model: Registered, version: Version) -> str | None:
        """Return where a version's files are now."""
        if uri is None or is_remote(uri) or uri.startswith(("models:", "runs:")):
            return uri
        for kind, places in ((LOGGED_MODEL, inside_logged_model(uri)), (RUN, inside_run(uri))):
            for key, rest in places:
                if base := records.target_of(cursor, self.source, kind, key):
                    return base + rest
        folder = local_path(uri, self.root)
        new = Locations(self.store.root).version(model.name, version.number)
        if folder.is_dir() and self.store.put(folder, new, version.where, folder, self.findings).files:
            return new
        reason = f"its files are not there: {uri} belongs to no run that was migrated; the version cannot be loaded"
        self.findings.noted(version.where, VERSION, reason)
        return uri

    def champion(self, model: Registered, key: str) -> int | None:
        """Point the alias `champion` at the old champion through the capture, and return its number."""
        number, why = model.old_champion()
        if number is None:
            return None
        with transaction(self.connection) as cursor:
            if not records.claim(cursor, self.source, CHAMPIONS, [key]):
                return number
            if not _stands(cursor, model.name):
                return None
            cursor.execute("SET LOCAL baton.capture = 'on'")
            _insert(
                cursor,
                "registered_model_aliases (workspace, name, alias, version)",
                [(WORKSPACE, model.name, CHAMPION, number)],
            )
            records.finish(cursor, self.source, CHAMPIONS, [(key, str(number), "")])
            if "newest of" in why:
                self.findings.noted(model.where, MODEL, f"version {number} becomes champion: {why}")
            records.keep(cursor, self.source, self.findings)
        return number


def _insert(cursor: Cursor, table_and_columns: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        query = sql.SQL("INSERT INTO {} VALUES %s ON CONFLICT DO NOTHING").format(sql.SQL(table_and_columns))
        execute_values(cursor, query, rows)


def _stands(cursor: Cursor, model: str) -> bool:
    """Tell whether the target has a registered model: somebody may have deleted it since it was migrated."""
    cursor.execute("SELECT 1 FROM registered_models WHERE workspace = %s AND name = %s", (WORKSPACE, model))
    return cursor.fetchone() is not None


def _datasets(cursor: Cursor, experiment: int, datasets: list[Dataset]) -> dict[str, str]:
    """Create data sets that are not there yet and return the id of each by its old folder."""
    rows: list[tuple[object, ...]] = [
        (d.id, experiment, d.name, d.digest, d.source_type, d.source, d.schema, d.profile) for d in datasets
    ]
    columns = "dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source, dataset_schema"
    _insert(cursor, f"datasets ({columns}, dataset_profile)", rows)
    cursor.execute("SELECT name, digest, dataset_uuid FROM datasets WHERE experiment_id = %s", (experiment,))
    ids = {(name, digest): number for name, digest, number in cursor.fetchall()}
    return {dataset.folder: ids[dataset.name, dataset.digest] for dataset in datasets}
