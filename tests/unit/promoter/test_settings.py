"""The promoter's settings."""

import pytest

from services.promoter.settings import PromoterSettings
from shared.errors import SettingsError
from shared.settings import load


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2"])
def test_both_forms_of_a_database_url(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("BATON_DATABASE_URL", f"{scheme}://u:p@h:1/d")
    assert load(PromoterSettings).database_url == "postgresql://u:p@h:1/d"


@pytest.mark.parametrize(("url", "part"), [(None, "database_url"), ("sqlite:///mlflow.db", "MLflow on PostgreSQL")])
def test_what_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch, url: str | None, part: str) -> None:
    monkeypatch.delenv("BATON_DATABASE_URL", raising=False)
    with pytest.raises(SettingsError, match=part):
        load(PromoterSettings, **({"database_url": url} if url else {}))
