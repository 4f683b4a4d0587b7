"""The three services as processes, for tests of what they do together."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.hands import promoter_process
from tests.integration.predictors import Predictor, predictor_process
from tests.servers import answers, free_port, running, wait_for

ROW = {
    "age": 63, "sex": 1, "cp": 3, "trestbps": 145, "chol": 233, "fbs": 1, "restecg": 0, "thalach": 150, "exang": 0,
    "oldpeak": 2.3, "slope": 0, "ca": 0, "thal": 1,
}  # fmt: skip


@dataclass
class Services:
    """Where the services answer and what they log; `ends` has what ends each of them."""

    predictor: Predictor
    promoter: str
    trainer: str
    logs: dict[str, Path]
    ends: dict[str, ExitStack]


@contextmanager
def services(nats_url: str, database_url: str, tracking_uri: str, folder: Path, **told: str) -> Iterator[Services]:
    """Run one of each service; `told` is environment for all of them."""
    ends = {name: ExitStack() for name in ("predictor", "promoter", "trainer")}
    with ExitStack() as all_end:
        for end in ends.values():
            all_end.enter_context(end)
        promoter = ends["promoter"].enter_context(
            promoter_process(nats_url, database_url, tracking_uri, folder, **told)
        )
        predictor = ends["predictor"].enter_context(predictor_process(nats_url, folder, None, **told))
        trainer = ends["trainer"].enter_context(trainer_process(nats_url, tracking_uri, folder, **told))
        logs = {name: folder / f"{name}.log" for name in ends}
        yield Services(predictor, promoter.url, trainer, logs, ends)


@contextmanager
def trainer_process(nats_url: str, tracking_uri: str, folder: Path, **told: str) -> Iterator[str]:
    port, log = free_port(), folder / "trainer.log"
    environment = {
        "BATON_NATS_URL": nats_url,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "BATON_TRAINER_DIR": str(folder / "scratch"),
        "BATON_TRAINER_PORT": str(port),
    }
    with running([sys.executable, "-m", "services.trainer"], log, environment | told):
        wait_for(f"the trainer (see {log})", answers(f"http://127.0.0.1:{port}/health"))
        yield f"http://127.0.0.1:{port}"
