"""One trace from a train request over decision and promotion to the first answer of each worker."""

import asyncio
import sys
import uuid
from pathlib import Path

from shared.bus import NatsBus
from shared.events import TrainRequested
from tests.integration.hands import promoter_process
from tests.integration.predictors import WORKERS, Predictor, predictor_process
from tests.otlp import Receiver, receiving
from tests.servers import answers, free_port, running, wait_for

ROW = {
    "age": 63, "sex": 1, "cp": 3, "trestbps": 145, "chol": 233, "fbs": 1, "restecg": 0, "thalach": 150, "exang": 0,
    "oldpeak": 2.3, "slope": 0, "ca": 0, "thal": 1,
}  # fmt: skip


def answered_by_each(predictor: Predictor, receiver: Receiver, model: str, trace: str) -> bool:
    """Ask, each time on a connection of its own, until every worker was seen to answer."""
    assert predictor.predict(model, ROW).status_code == 200
    return len(receiver.named(trace, "first prediction")) == WORKERS


async def test_a_train_request_is_one_trace_up_to_the_first_answer_of_each_worker(
    nats_url: str, database_url: str, tracking_uri: str, bus: NatsBus, tmp_path: Path
) -> None:
    model, request = f"model-{uuid.uuid4()}", uuid.uuid4()
    health = free_port()
    environment = {
        "BATON_NATS_URL": nats_url,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "BATON_TRAINER_DIR": str(tmp_path / "scratch"),
        "BATON_TRAINER_PORT": str(health),
    }
    with receiving() as receiver:
        told = {"BATON_OTLP_ENDPOINT": receiver.url}
        with (
            promoter_process(nats_url, database_url, tracking_uri, tmp_path, **told),
            predictor_process(nats_url, tmp_path, BATON_OTLP_ENDPOINT=receiver.url) as predictor,
            running([sys.executable, "-m", "services.trainer"], tmp_path / "trainer.log", environment | told),
        ):
            await asyncio.to_thread(wait_for, "the trainer", answers(f"http://127.0.0.1:{health}/health"), 60)
            asked = TrainRequested(recipe="logistic-regression", dataset="heart-disease", request_id=str(request))
            await bus.publish(asked, model, event_id=str(request))
            swapped = lambda: len(receiver.named(request.hex, "swap")) == WORKERS  # noqa: E731
            await asyncio.to_thread(wait_for, "each worker's swap", swapped, 90)
            each = lambda: answered_by_each(predictor, receiver, model, request.hex)  # noqa: E731
            await asyncio.to_thread(wait_for, "each worker's first answer", each, 60)
            whole = lambda: all(receiver.named(request.hex, name) for name in ("train", "publish"))  # noqa: E731
            await asyncio.to_thread(wait_for, "the trainer's and the relay's span", whole, 30)

    spans = {name: receiver.named(request.hex, name) for name in ("train", "decide", "promote", "publish")}
    assert {name: len(found) for name, found in spans.items()} == dict.fromkeys(spans, 1)
    swaps, firsts = (receiver.named(request.hex, name) for name in ("swap", "first prediction"))
    assert len({span.instance for span in swaps}) == WORKERS
    assert {span.instance for span in swaps} == {span.instance for span in firsts}
    assert {span.attributes["baton.model"] for span in receiver.spans if span.trace == request.hex} == {model}
    assert {span.service for span in swaps} == {"baton-predictor"}
    assert spans["decide"][0].attributes["baton.verdict"] == "promoted"
    order = [spans["decide"][0].started, spans["promote"][0].started, firsts[0].started]
    assert order == sorted(order)
