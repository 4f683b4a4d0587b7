"""Every part of a stack is restarted in turn under work and load: no prediction fails, nothing is lost."""

from pathlib import Path

import pytest

from tests.chaos.rolling import ORDER, run
from tests.chaos.template import make_template


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::FutureWarning")  # stages are deprecated, and still what many use
async def test_an_upgrade_is_noticed_by_nobody(tmp_path_factory: pytest.TempPathFactory) -> None:
    data_dir: Path = tmp_path_factory.mktemp("rolling")
    for folder in (data_dir, *data_dir.parents[:2]):
        folder.chmod(0o755)  # root's PostgreSQL runs as another user
    await make_template(data_dir)
    outcome = await run(data_dir, rounds=1)
    print(f"\n{outcome}")
    assert outcome.violations == []
    assert outcome.counts["restarts"] == len(ORDER)
