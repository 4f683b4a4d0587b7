"""Write the AsyncAPI document of the three services: `python scripts/make_asyncapi.py docs/asyncapi.json`.

Channels, operations, messages and schemas come from each service's own FastStream broker; nothing is connected to.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from faststream.nats import NatsBroker

from services.predictor.app import create_broker as predictor
from services.promoter.app import create_broker as promoter
from services.trainer.app import create_broker as trainer
from shared.service import asyncapi

INFO = {
    "title": "Baton",
    "version": "1.0.0",
    "description": "Events of trainer, promoter and predictor on NATS JetStream: CloudEvents 1.0 in binary mode.",
}


def services() -> list[NatsBroker]:
    """Return the broker of each service, with its subscriptions and what it publishes."""
    return [create() for create in (trainer, promoter, predictor)]


def merged(brokers: Iterable[NatsBroker]) -> dict[str, Any]:
    """Return one document of several brokers: the union of their channels, operations and components."""
    document: dict[str, Any] = {"asyncapi": "3.0.0", "info": INFO, "defaultContentType": "application/json"}
    document |= {"servers": {}, "channels": {}, "operations": {}, "components": {"messages": {}, "schemas": {}}}
    for broker in brokers:
        part = asyncapi(broker, "", "").to_jsonable()
        for section in ("servers", "channels", "operations"):
            document[section] |= part[section]
        for section in ("messages", "schemas"):
            document["components"][section] |= part["components"][section]
    for server in document["servers"].values():
        server["host"] = "127.0.0.1:4222"  # the default, whatever this machine's settings say
    return document


def main() -> None:
    """Write the document to the file that the first argument names."""
    document = merged(services())
    Path(sys.argv[1]).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
