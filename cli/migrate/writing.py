"""Writing what is few: experiments, registered models and their champions, one transaction each."""

from dataclasses import dataclass
from pathlib import Path

from cli.migrate.artifacts import ArtifactStore
from cli.migrate.experiment import Experiment
from cli.migrate.findings import Findings
from cli.migrate.locations import Locations, is_remote, local_path, migrated_place
from cli.migrate.plan import is_default
from cli.migrate.records import ALIAS, CHAMPIONS, EXPERIMENT, MODEL, VERSION
from cli.migrate.registered import CHAMPION, Registered, Version
from cli.migrate.session import WORKSPACE, Session, Sessions
from cli.migrate.tree import relative

ALIASES = "registered_model_aliases (workspace, name, alias, version)"
EXPERIMENTS = (
    "experiments (experiment_id, name, workspace, artifact_location, lifecycle_stage, creation_time, last_update_time)"
)


@dataclass(frozen=True)
class Writer:
    """Writes into one target on behalf of one source."""

    session: Sessions
    root: Path
    store: ArtifactStore
    findings: Findings

    def experiment(self, experiment: Experiment) -> tuple[int, dict[str, str]]:
        """Create an experiment, or find the one that an earlier attempt created.

        Return its new id and the new id of each of its data sets.
        """
        with self.session() as session:
            known = session.records.done(EXPERIMENT).get(experiment.id)
            number = int(known) if known is not None else self._create(session, experiment)
            datasets = self._datasets(session, number, experiment)
            session.records.keep(self.findings)
            return number, datasets

    def _create(self, session: Session, experiment: Experiment) -> int:
        number = 0 if is_default(experiment) else session.new_experiment()
        old = experiment.artifact_location
        location = old if old and is_remote(old) else Locations(self.store.root).experiment(number)
        row = (
            number, experiment.name, WORKSPACE, location, experiment.lifecycle, experiment.created, experiment.updated,
        )  # fmt: skip
        if is_default(experiment):
            session.insert(EXPERIMENTS, [row])
        else:
            session.create(EXPERIMENTS, row)
        tags = [(key, value, number) for key, value in experiment.tags.items()]
        session.insert("experiment_tags (key, value, experiment_id)", tags)
        session.records.claim(EXPERIMENT, [experiment.id])
        session.records.finish(EXPERIMENT, [(experiment.id, str(number), str(experiment.origin))])
        return number

    def _datasets(self, session: Session, number: int, experiment: Experiment) -> dict[str, str]:
        """Create data sets that are not there yet and return the id of each by its old folder."""
        own = {(d.name, d.digest): d.id_in(number) for d in experiment.datasets}
        columns = "dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source, dataset_schema"
        rows = [
            (own[d.name, d.digest], number, d.name, d.digest, d.source_type, d.source, d.schema, d.profile)
            for d in experiment.datasets
        ]
        session.insert(f"datasets ({columns}, dataset_profile)", rows)
        ids = own | session.datasets(number)
        for dataset in experiment.datasets:
            if ids[dataset.name, dataset.digest] != own[dataset.name, dataset.digest]:
                where = f"{relative(experiment.folder.path, self.root)}/datasets/{dataset.folder}"
                reason = "the target's own of this name and digest stands, with its source, schema and profile"
                self.findings.noted(where, "data set", reason)
        return {dataset.folder: ids[dataset.name, dataset.digest] for dataset in experiment.datasets}

    def model(self, model: Registered, key: str) -> bool:
        """Create a registered model with versions and aliases, all but `champion`; `key` is its name in the source.

        Of one that an earlier attempt created only versions and aliases are written that it did not have then. Return
        whether the model is new.
        """
        with self.session() as session:
            known = session.records.target_of(MODEL, key)
            if known is None:
                _create_model(session, model, key)
            else:
                model.name = known
            if session.held(MODEL, [model.name]):  # else somebody deleted it since it was migrated
                self._versions(session, model)
                _write_aliases(session, model)
            session.records.keep(self.findings)
        return known is None

    def _versions(self, session: Session, model: Registered) -> None:
        new = session.records.claim(VERSION, [version.where for version in model.versions])
        rows, tags = [], []
        for version in (version for version in model.versions if version.where in new):
            source = self._uri(session, version.source, model, version)
            storage = (
                source if version.storage == version.source else self._uri(session, version.storage, model, version)
            )
            rows.append((
                WORKSPACE, model.name, version.number, version.created, version.updated, version.description,
                version.user, version.stage, source, storage, version.run_id, version.run_link, version.status,
                version.status_message,
            ))  # fmt: skip
            tags += [(WORKSPACE, model.name, version.number, key, value) for key, value in version.tags.items()]
        session.insert(
            "model_versions (workspace, name, version, creation_time, last_updated_time, description, user_id, "
            "current_stage, source, storage_location, run_id, run_link, status, status_message)",
            rows,
        )
        session.insert("model_version_tags (workspace, name, version, key, value)", tags)

    def _uri(self, session: Session, uri: str | None, model: Registered, version: Version) -> str | None:
        """Return where a version's files are now."""
        known = uri and migrated_place(uri, session.records.target_of)
        if uri is None or known:
            return known
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
        with self.session() as session:
            if not session.records.claim(CHAMPIONS, [key]):
                return number
            if not session.held(MODEL, [model.name]):
                return None
            session.capture()
            session.insert(ALIASES, [(WORKSPACE, model.name, CHAMPION, number)])
            session.records.finish(CHAMPIONS, [(key, str(number), "")])
            if "newest of" in why:
                self.findings.noted(model.where, MODEL, f"version {number} becomes champion: {why}")
            session.records.keep(self.findings)
        return number


def _create_model(session: Session, model: Registered, key: str) -> None:
    session.create(
        "registered_models (workspace, name, creation_time, last_updated_time, description)",
        (WORKSPACE, model.name, model.created, model.updated, model.description),
    )
    tags = [(WORKSPACE, model.name, name, value) for name, value in model.tags.items()]
    session.insert("registered_model_tags (workspace, name, key, value)", tags)
    session.records.claim(MODEL, [key])
    session.records.finish(MODEL, [(key, model.name, str(model.origin))])


def _write_aliases(session: Session, model: Registered) -> None:
    places = {f"{model.where}/aliases/{alias}": alias for alias in model.aliases if alias != CHAMPION}
    new = [places[place] for place in sorted(session.records.claim(ALIAS, places))]
    session.insert(ALIASES, [(WORKSPACE, model.name, alias, model.aliases[alias]) for alias in new])
