"""The whole stack on one machine, composed: which parts are started, in which order, and where they answer."""

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from compose.local import services, tokens
from compose.local.attached import attached_urls, check_attached
from compose.local.child import Change, Child
from compose.local.datadir import DataDir
from compose.local.lock import held
from compose.local.mlflow import mlflow_child
from compose.local.nats import nats_child
from compose.local.ports import HOST, choose
from compose.local.postgres import database_url, postgres_child
from compose.local.settings import StackSettings
from compose.local.state import State, write_state
from compose.local.supervisor import Listener, Supervisor

PORTS_OF = {"nats": {"nats", "nats_monitor"}, "postgres": {"postgres"}, "mlflow": {"mlflow"}}


class Stack:
    """A stack that `running` brings up and takes down; `listener` hears of every change of a part.

    `environment` is added to that of Baton's own services.
    """

    def __init__(
        self, settings: StackSettings, listener: Listener, environment: Mapping[str, str] | None = None
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._environment = dict(environment or {})
        self._data = DataDir(settings.data_dir)
        self._supervisor: Supervisor | None = None
        self._state: State | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[State]:
        """Bring the stack up, yield where it answers, and take it down; raise a `BatonError` if it cannot start."""
        began = time.monotonic()
        attached = attached_urls(self._settings)
        self._data.create()
        async with held(self._data):
            await check_attached(attached)
            for part in attached:
                self._listener(Change(part, "attached", time.monotonic() - began))
            ports = self._ports(attached)
            urls = self._urls(ports) | attached
            self._supervisor = Supervisor(self._children(ports, urls, attached), self._data, self._hear)
            async with self._supervisor.running():
                pids = self._supervisor.pids
                ready_s, token = time.monotonic() - began, tokens.token(self._data)
                self._state = State(os.getpid(), str(self._data.root), ready_s, urls, pids, token=token)
                write_state(self._data, self._state)
                try:
                    yield self._state
                finally:
                    self._state = None
                    self._data.state.unlink(missing_ok=True)

    def _hear(self, change: Change) -> None:
        """Pass a change on; the process ids that the state names are kept current."""
        if self._state is not None and self._supervisor is not None and change.state == "ready":
            self._state.children.update(self._supervisor.pids)
            write_state(self._data, self._state)
        self._listener(change)

    def _ports(self, attached: Mapping[str, str]) -> dict[str, int]:
        unused = {port for part in attached for port in PORTS_OF[part]}
        wanted = {service: port for service, port in self._settings.ports.items() if service not in unused}
        return choose(wanted, replaceable=self._settings.replaceable_ports)

    def _urls(self, ports: Mapping[str, int]) -> dict[str, str]:
        forms = {
            **dict.fromkeys(("predictor", "promoter", "trainer", "mlflow"), "http://{host}:{port}"),
            "nats": "nats://{host}:{port}",
        }
        urls = {part: form.format(host=HOST, port=ports[part]) for part, form in forms.items() if part in ports}
        return urls | ({"postgres": database_url(self._data, ports["postgres"])} if "postgres" in ports else {})

    def _children(self, ports: Mapping[str, int], urls: Mapping[str, str], attached: Mapping[str, str]) -> list[Child]:
        bus = {"BATON_NATS_URL": urls["nats"], **self._environment}
        mlflow = {**bus, "MLFLOW_TRACKING_URI": urls["mlflow"]}
        ledger = {**mlflow, "BATON_DATABASE_URL": urls["postgres"], **tokens.setting(self._data)}
        scratch = {"BATON_TRAINER_DIR": str(self._data.root / "trainer")}
        cache = {"BATON_CACHE_DIR": str(self._data.root / "predictor")}
        servers: dict[str, Callable[[], Child]] = {
            "postgres": lambda: postgres_child(self._data, ports["postgres"]),
            "nats": lambda: nats_child(self._data, ports["nats"], ports["nats_monitor"], self._settings.nats_sync),
            "mlflow": lambda: mlflow_child(self._data, ports["mlflow"], urls["postgres"]),
        }
        return [
            *(make() for part, make in servers.items() if part not in attached),
            services.predictor(ports["predictor"], self._settings.predictor_workers, {**bus, **cache}),
            services.service("trainer", ports["trainer"], {**mlflow, **scratch}, after=("nats",)),
            # Not after MLflow: it waits by itself for MLflow's tables, and imports meanwhile.
            services.service("promoter", ports["promoter"], ledger, after=("nats", "postgres")),
        ]
