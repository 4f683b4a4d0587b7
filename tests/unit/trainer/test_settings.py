"""Settings of the trainer: data sets, inline and from files."""

from pathlib import Path

import pytest

from services.trainer.settings import TrainerSettings
from shared.errors import SettingsError
from shared.settings import load

JSON = '{"churn": {"path": "/data/churn.csv", "target": "churned", "categorical": ["plan"]}}'
YAML = "churn:\n  path: /data/churn.csv\n  target: churned\n  categorical: [plan]\n"
TOML = '[churn]\npath = "/data/churn.csv"\ntarget = "churned"\ncategorical = ["plan"]\n'


@pytest.mark.parametrize(("name", "content"), [("d.json", JSON), ("d.yaml", YAML), ("d.toml", TOML), (None, JSON)])
def test_datasets_come_as_text_or_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str | None, content: str
) -> None:
    if name:
        (tmp_path / name).write_text(content)
    monkeypatch.setenv("BATON_DATASETS", str(tmp_path / name) if name else content)
    datasets = load(TrainerSettings).datasets
    assert datasets.keys() == {"heart-disease", "churn"}
    assert (datasets["churn"].path, datasets["churn"].categorical) == ("/data/churn.csv", ["plan"])


def test_a_dataset_may_be_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_DATASETS", '{"far": {"url": "https://example.org/far.csv"}}')
    assert load(TrainerSettings).datasets["far"].path == "https://example.org/far.csv"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("/no/such/file.yaml", "No such file"),
        ("[1, 2]", "cannot be read"),
        ("{broken", "cannot be read"),
        ('{"churn": {"target": "churned"}}', "churn.path: Field required"),
        ('{"churn": {"path": "x.csv", "colour": 1}}', "churn.colour"),
    ],
)
def test_what_is_wrong_with_datasets_is_said(monkeypatch: pytest.MonkeyPatch, value: str, words: str) -> None:
    monkeypatch.setenv("BATON_DATASETS", value)
    with pytest.raises(SettingsError, match="datasets") as raised:
        load(TrainerSettings)
    assert words in str(raised.value)


def test_roots_are_separated_as_paths_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_DATA_ROOTS", "/data:/more")
    assert load(TrainerSettings).data_roots == [Path("/data"), Path("/more")]
