"""The policy file."""

from pathlib import Path

import pytest

from services.promoter.policy.file import read_policies
from shared.errors import SettingsError


def written(folder: Path, text: str) -> Path:
    file = folder / "policy.yaml"
    file.write_text(text)
    return file


def test_without_a_file_the_task_decides() -> None:
    policy = read_policies(None).of("any", "regression")
    assert (policy.metric, policy.higher_is_better, policy.floor, policy.min_improvement) == ("r2", True, 0.0, 0.0)


def test_a_model_overrides_the_defaults_field_by_field(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "defaults: {metric: f1, floor: 0.6, min_improvement: 0.01}\nmodels: {fraud: {metric: log_loss, floor: 0.3}}",
    )
    policies = read_policies(file)
    own, other = policies.of("fraud", "classification"), policies.of("other", "classification")
    assert (own.metric, own.floor, own.min_improvement, own.higher_is_better) == ("log_loss", 0.3, 0.01, False)
    assert (other.metric, other.floor) == ("f1", 0.6)


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, "defaults: {flor: 1}\nmodels: {fraud: {min_improvement: -1}, other: {metric: 3}}")
    with pytest.raises(SettingsError) as caught:
        read_policies(file)
    for part in (str(file), "defaults.flor", "models.fraud.min_improvement", "models.other.metric"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("defaults: {metric: roc_au}", "defaults.metric: 'roc_au' is not computed, only accuracy, brier"),
        ("models: {fraud: {guards: {recall: 0.1}}}", "models.fraud.guards.recall: 'recall' is not computed"),
        ("defaults: {guards: {f1: .nan}}", "defaults.guards.f1"),
        ("defaults: {guards: {f1: -1}}", "defaults.guards.f1"),
        ("defaults: {min_confidence: 1.5}", "defaults.min_confidence"),
        ("defaults: {mode: later}", "defaults.mode: Input should be 'auto' or 'approve'"),
        ("defaults: {on_reject: shrug}", "defaults.on_reject"),
        ("defaults: {reject_quorum: 0}", "defaults.reject_quorum"),
        ("defaults: {floor: 0.5, floor: 0.6}", "floor is given twice in line 1"),
    ],
)
def test_a_fault_is_named_with_what_would_be_accepted(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_policies(written(tmp_path, text))
    assert fault in str(caught.value)


@pytest.mark.parametrize("text", ["- a list", "defaults: [", "\x00"])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"policy\.yaml"):
        read_policies(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_policies(tmp_path / "nowhere.yaml")


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert read_policies(written(tmp_path, "")).of("any", "classification").metric == "roc_auc"
