"""The guide's troubleshooting holds each message that a migration can end with."""

import ast
from collections.abc import Iterator
from pathlib import Path

import cli.migrate

SOURCE = Path(cli.migrate.__file__).parent
GUIDE = SOURCE.parents[1] / "docs" / "migrate-from-filestore.md"
NOT_OURS = {"ValueError"}  # of lines and numbers: they become findings


def messages() -> Iterator[str]:
    """Yield the longest fixed part of each message of an error that `cli/migrate` raises."""
    for path in sorted(SOURCE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                name = node.func.id
                if (name.endswith("Error") and name not in NOT_OURS) or name == "kind":
                    yield from fixed_part(node.args[0])
            if isinstance(node, ast.Assign) and "refusal" in ast.unparse(node.targets[0]):
                yield from fixed_part(node.value)


def fixed_part(message: ast.expr) -> Iterator[str]:
    parts = message.values if isinstance(message, ast.JoinedStr) else [message]
    texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    if texts:
        yield max(texts, key=len).strip()


def test_each_message_stands_in_the_guide() -> None:
    troubleshooting = GUIDE.read_text().partition("## Troubleshooting")[2]
    found = set(messages())
    assert len(found) > 20
    assert [message for message in sorted(found) if message not in troubleshooting] == []
