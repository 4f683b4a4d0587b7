"""docs/policy.md describes every key of the policy, and none that does not exist."""

import re
from pathlib import Path

from services.promoter.policy.file import read_policies
from services.promoter.policy.policy import Policy

REFERENCE = Path(__file__).parents[4] / "docs" / "policy.md"


def test_every_key_is_described_and_no_other() -> None:
    table = REFERENCE.read_text().split("## Keys")[1].split("\n## ")[0]
    described = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(described) == sorted(Policy.model_fields)


def test_the_examples_are_accepted(tmp_path: Path) -> None:
    text = REFERENCE.read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| `([^`]+)` \|$", text, re.MULTILINE)
    assert len(rows) == len(Policy.model_fields)
    file = tmp_path / "promotion.yaml"
    file.write_text("defaults:\n" + "".join(f"  {key}: {example}\n" for key, example in rows))
    assert read_policies(file).defaults.model_fields_set == {key for key, _ in rows}
    example = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    file.write_text(example)
    assert read_policies(file).of("house-prices", "regression").mode == "approve"
