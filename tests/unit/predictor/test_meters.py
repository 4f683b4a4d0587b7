"""What a predictor counts: one worker's own, and the sum over workers that live and that died."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import orjson
import pytest

from services.predictor import meters
from services.predictor.executor import ROWS_INLINE
from services.predictor.meters import FOLDER, share
from services.predictor.whole import Whole
from shared.events import Check, ModelRejected, ModelServing
from tests import bundles
from tests.exposition import counted
from tests.unit.predictor.api import Predictor
from tests.unit.predictor.conftest import Parts, promoted, until, withdrawn

ROW = {"x": 1}
WORKER = """
from services.predictor.meters import Meters
meters = Meters()
with meters.inside:
    meters.failed(503)
meters.inside.__enter__()
print(meters.exposed().decode())
"""


async def scraped(predictor: Predictor) -> dict[tuple[str, ...], float]:
    answer = await predictor.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return counted(answer.text)


@pytest.mark.parametrize("rows", [1, ROWS_INLINE + 1])
async def test_answers_are_counted_by_model_and_version_whichever_way_they_went(
    predictor: Predictor, tmp_path: Path, rows: int
) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25), version="7")
    await predictor.client.post("/models/heart/predict", json=[ROW] * rows)
    predictor.api.at_once(Whole(b"/models/heart/predict", [], orjson.dumps(ROW)))
    found = await scraped(predictor)
    assert found["baton_prediction_seconds_count", "heart", "7"] == 2
    assert 0 < found["baton_prediction_seconds_sum", "heart", "7"] < 60
    assert found["baton_prediction_seconds_bucket", "+Inf", "heart", "7"] == 2
    assert found["baton_predictions_inside",] == 0


async def test_failures_are_counted_by_status(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    await predictor.client.post("/models/heart/predict", json={"y": 1})
    await predictor.client.post("/models/nobody/predict", json=ROW)
    predictor.api.at_once(Whole(b"/models/nobody/predict", [], orjson.dumps(ROW)))
    found = await scraped(predictor)
    assert found["baton_prediction_failures_total", "422"] == 1
    assert found["baton_prediction_failures_total", "404"] == 2


async def test_every_check_is_counted_from_zero_on(predictor: Predictor) -> None:
    """Or Prometheus would see no increase in the first rejection."""
    found = await scraped(predictor)
    assert {
        key[1]: value for key, value in found.items() if key[0] == "baton_versions_rejected_total"
    } == dict.fromkeys(get_args(Check), 0)


async def test_swaps_rejections_and_bundles_are_counted(parts: Parts) -> None:
    good, bad = await parts.bundle(0.25), await parts.bundle(0.75, golden_share=0.7)
    parts.follower.follow("heart", promoted(good, "1", 1))
    await until(lambda: bool(parts.slots.champions), "the champion")
    parts.follower.follow("heart", promoted(bad, "2", 2))
    await parts.reported(ModelRejected, 1)
    found = counted(parts.meters.exposed().decode())
    assert found["baton_swap_delay_seconds_count", "heart", "false"] == 1
    assert found["baton_champion_generation", "heart"] == 1
    assert found["baton_versions_rejected_total", "golden"] == 1
    assert found["baton_bundles_total", "fetched"] == 2
    assert found["baton_bundle_fetched_bytes_total",] > 1000


@pytest.mark.parametrize("are_lazy", [False, True])
async def test_a_withdrawal_is_in_effect_too_and_after_a_restart(parts: Parts, are_lazy: bool) -> None:
    def applied(by: Parts, generation: int) -> bool:
        return counted(by.meters.exposed().decode()).get(("baton_champion_generation", "heart")) == generation

    parts.slots.of("heart").is_lazy = are_lazy
    bundle = await parts.bundle(0.25)
    parts.follower.follow("heart", promoted(bundle, "1", 1))
    await parts.follower.settled()
    parts.follower.follow("heart", withdrawn(2))
    await parts.follower.settled()
    await until(lambda: applied(parts, 2), "the withdrawal")
    again = Parts(parts.folder, parts.bus)
    await again.follower.restore()
    await until(lambda: applied(again, 2), "the withdrawal after a restart")
    for change in (promoted(bundle, "1", 3), withdrawn(4), promoted(bundle, "1", 5)):
        parts.follower.follow("heart", change)
        await parts.follower.settled()
    await until(lambda: applied(parts, 5), "the last change")


async def test_a_restart_is_no_swap(parts: Parts) -> None:
    change = promoted(await parts.bundle(0.25), "1", 1)
    parts.follower.follow("heart", change)
    await parts.follower.settled()
    again = Parts(parts.folder, parts.bus)
    await again.follower.restore()
    await again.reported(ModelServing, 1)
    found = counted(again.meters.exposed().decode())
    assert found["baton_champion_generation", "heart"] == 1
    assert ("baton_swap_delay_seconds_count", "heart", "false") not in found
    assert found["baton_bundles_total", "cached"] == 1


def test_what_workers_counted_stays_and_what_they_were_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, "")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "counter_1.db").touch()
    share(tmp_path / "shared")
    assert list((tmp_path / "shared").iterdir()) == []
    for before in range(3):
        worker = subprocess.run([sys.executable, "-c", WORKER], env=os.environ, capture_output=True, check=True)
        found = counted(worker.stdout.decode())
        assert found["baton_prediction_failures_total", "503"] == before + 1
        assert found["baton_predictions_inside",] == 1


@pytest.mark.parametrize("answer", [ProcessLookupError, PermissionError])
def test_a_number_that_is_nobody_s_or_somebody_else_s_by_now_is_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: type[OSError]
) -> None:
    def kill(pid: int, signal: int) -> None:
        raise answer

    (tmp_path / "gauge_livesum_4711.db").touch()
    monkeypatch.setattr(os, "kill", kill)
    meters.forget_dead(tmp_path)
    assert list(tmp_path.iterdir()) == []
