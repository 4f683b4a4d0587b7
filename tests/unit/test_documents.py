"""What is generated or promised in documents is true."""

import json
import re
from pathlib import Path

import pytest

from cli.main import make_app
from scripts.make_asyncapi import merged, services
from shared.event import Event
from shared.events import CATALOGUE

ROOT = Path(__file__).parents[2]
ASYNCAPI = json.loads((ROOT / "docs" / "asyncapi.json").read_text())


def test_asyncapi_is_what_the_services_say_today() -> None:
    assert merged(services()) == ASYNCAPI, "run `./task docs`"


@pytest.mark.parametrize("event", CATALOGUE, ids=lambda event: event.type)
def test_every_event_of_the_catalogue_is_in_asyncapi(event: type[Event]) -> None:
    assert event.type in " ".join(ASYNCAPI["channels"])


def test_every_verb_of_the_command_line_is_described() -> None:
    described = (ROOT / "docs" / "commands.md").read_text()
    verbs = [
        str(command.name or getattr(command.callback, "__name__", "")) for command in make_app().registered_commands
    ]
    assert [verb for verb in verbs if f"`baton {verb}" not in described] == []


@pytest.mark.parametrize(
    "document", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda path: path.name
)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing
