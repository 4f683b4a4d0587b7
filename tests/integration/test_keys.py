"""A predictor that asks for keys, as processes: every worker knows them, and hears of changes."""

from pathlib import Path

import httpx

from shared.keys import line_of, new_key
from tests.integration.predictors import predictor_process
from tests.servers import wait_for

KEYS = {name: new_key() for name in ("ann", "bob")}


def test_keys_come_and_go_while_a_predictor_runs(nats_url: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(line_of("ann", KEYS["ann"]))
    settings = {"BATON_API_KEYS_FILE": str(file), "BATON_ACCESS_LOG": "true", "BATON_LOG_JSON": "true"}
    with predictor_process(nats_url, tmp_path, None, **settings) as predictor:

        def statuses(name: str) -> set[int]:
            """Ask on many connections, so that every worker is among those that answer."""
            headers = {"authorization": f"Bearer {KEYS[name]}"}
            return {httpx.get(f"{predictor.url}/models", headers=headers, timeout=10).status_code for _ in range(20)}

        assert (statuses("ann"), statuses("bob")) == ({200}, {401})
        assert predictor.predict("heart").status_code == 401
        asked = httpx.post(
            f"{predictor.url}/models/nobody/predict", json={"x": 1}, headers={"x-api-key": KEYS["ann"]}, timeout=10
        )
        assert asked.status_code == 404, "let in, and there is no such model"
        file.write_text(line_of("bob", KEYS["bob"]))
        wait_for("every worker to know bob alone", lambda: (statuses("ann"), statuses("bob")) == ({401}, {200}))
    log = predictor.log.read_text()
    assert '"key": "ann"' in log
    assert not [key for key in KEYS.values() if key in log]
