"""The predictor's settings: which models it serves."""

import pytest

from services.predictor.settings import PredictorSettings
from shared.errors import SettingsError
from shared.settings import load


@pytest.mark.parametrize(
    ("value", "models"),
    [("heart", {"heart"}), (" heart, churn,", {"heart", "churn"}), ('["a,b", "c"]', {"a,b", "c"})],
)
def test_models_are_a_list(monkeypatch: pytest.MonkeyPatch, value: str, models: set[str]) -> None:
    monkeypatch.setenv("BATON_MODELS", value)
    assert load(PredictorSettings).models == frozenset(models)


@pytest.mark.parametrize("value", ["", " , ", "[1]", "[", "[]"])
def test_a_list_that_names_no_model_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BATON_MODELS", value)
    with pytest.raises(SettingsError, match="models"):
        load(PredictorSettings)


def test_the_default_must_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_MODELS", "heart")
    monkeypatch.setenv("BATON_DEFAULT_MODEL", "churn")
    with pytest.raises(SettingsError, match="'churn' is not among models: heart"):
        load(PredictorSettings)
