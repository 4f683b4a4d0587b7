"""CloudEvents 1.0, NATS binding in binary mode: the attributes of an event as message headers.

Source: the CloudEvents specification's NATS protocol binding, section 3.1 (binary content mode); header values are
percent-encoded as its HTTP binding does: space, double quote, percent and everything outside printable ASCII.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import unquote

MSG_ID = "Nats-Msg-Id"


def _encode(value: str) -> str:
    return "".join(
        character if "!" <= character <= "~" and character not in '"%' else _percent(character) for character in value
    )


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def headers(event_type: str, *, source: str, model: str, event_id: str | None = None) -> dict[str, str]:
    """Return the headers of an event; `Nats-Msg-Id` equals `ce-id`, so that JetStream stores it once."""
    identity = event_id or str(uuid.uuid4())
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": identity,
        "ce-source": f"/baton/{source}",
        "ce-type": event_type,
        "ce-subject": model,
        "ce-time": datetime.now(UTC).isoformat(),
        "ce-datacontenttype": "application/json",
    }
    encoded = {name: _encode(value) for name, value in attributes.items()}
    return {**encoded, MSG_ID: encoded["ce-id"]}


def event_id(message_headers: Mapping[str, str] | None) -> str | None:
    """Return the event's id from its headers, None for a message published by hand without them."""
    found = message_headers or {}
    value = found.get("ce-id") or found.get(MSG_ID)
    return unquote(value) if value else None
