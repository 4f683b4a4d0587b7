"""Which paths ask for a prediction, and what is remembered of them."""

import pytest

from services.predictor.routes.native import Native
from services.predictor.routes.openinference import OpenInference
from services.predictor.routes.paths import LONGEST, MOST, Paths
from services.predictor.routes.scoring import Scoring


@pytest.fixture
def paths() -> Paths:
    return Paths(Native(1), Scoring(1), OpenInference(1))


@pytest.mark.parametrize(
    ("raw", "protocol", "model", "version"),
    [
        (b"/predict", Native, None, None),
        (b"/invocations", Scoring, None, None),
        (b"/models/a/predict", Native, "a", None),
        (b"/models/a%2Fb/invocations", Scoring, "a/b", None),
        (b"/models/a/b/invocations", Scoring, "a/b", None),
        (b"/v2/models/a%2Fb/infer", OpenInference, "a/b", None),
        (b"/v2/models/a/versions/1/infer", OpenInference, "a", "1"),
        (b"/models/predict/predict", Native, "predict", None),
        (b"/models/a%2Fpredict/invocations", Scoring, "a/predict", None),
        (b"/v2/models/a%2Finfer/infer", OpenInference, "a/infer", None),
        (b"/v2/models/infer/infer", OpenInference, "infer", None),
    ],
)
def test_a_prediction_is_asked_for(
    paths: Paths, raw: bytes, protocol: type, model: str | None, version: str | None
) -> None:
    target = paths.find(raw)
    assert target is not None
    assert (type(target.protocol), target.model, target.version) == (protocol, model, version)
    assert paths.find(raw) is target, "it is remembered"


@pytest.mark.parametrize(
    "raw",
    [
        b"/",
        b"/models/a",
        b"/predict/",
        b"/v2/models/a",
        b"/v2/models/a/ready",
        b"/\xff",
        b"/models/predict",
        b"/models/a%2Fpredict",
        b"/models//predict",
        b"/v2/models/infer",
        b"/v2/models/a%2Finfer",
        b"/v2/predict",
    ],
)
def test_what_asks_for_no_prediction_is_not_remembered(paths: Paths, raw: bytes) -> None:
    assert paths.find(raw) is None
    assert not paths.remembered


def test_long_paths_are_answered_and_not_remembered(paths: Paths) -> None:
    target = paths.find(b"/models/" + b"a" * LONGEST + b"/predict")
    assert target is not None
    assert target.model == "a" * LONGEST
    assert not paths.remembered


def test_the_paths_that_came_last_are_remembered(paths: Paths) -> None:
    for number in range(MOST + 1):
        paths.find(b"/models/%d/predict" % number)
    assert len(paths.remembered) == MOST
    assert b"/models/0/predict" not in paths.remembered
    assert b"/models/%d/predict" % MOST in paths.remembered
