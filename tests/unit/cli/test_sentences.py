"""Every event of the catalogue can be said in one line."""

import pytest

from cli.sentences import TEMPLATES, metrics, sentence
from shared.event import Event
from shared.events import CATALOGUE, PromotionRequested, RunFailed, RunFinished


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.type)
def test_every_event_of_the_catalogue_has_a_sentence(kind: type[Event]) -> None:
    assert kind in TEMPLATES


def test_a_finished_run_names_its_metrics() -> None:
    event = RunFinished.model_validate(
        {
            "request_id": "r",
            "run_id": "x",
            "version": "3",
            "metrics": {"roc_auc": 0.9, "brier": 0.1},
            "bundle": {"object": "o", "digest": "sha256:0", "size": 1},
        }
    )
    assert sentence(event) == "version 3 trained: roc_auc 0.900"


@pytest.mark.parametrize(("version", "expected"), [("3", "promote 3 requested by a"), ("", "promote requested by a")])
def test_a_command_without_a_version_leaves_no_gap(version: str, expected: str) -> None:
    assert sentence(PromotionRequested(version=version, actor="a")) == expected


def test_braces_in_a_message_are_not_read_as_a_template() -> None:
    event = RunFailed(request_id="r", kind="refused", message="params.{C}: no such parameter")
    assert "params.{C}" in sentence(event)


def test_metrics_come_in_a_fixed_order() -> None:
    assert metrics({"f1": 0.5, "accuracy": 0.75}) == "accuracy 0.750  f1 0.500"
