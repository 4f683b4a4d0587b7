"""Asking a part of Baton over HTTP."""

from typing import Any

import httpx
import orjson

from shared.errors import BatonError, UnreachableError


def ask(part: str, base: str, method: str, path: str, body: bytes | None = None, **parameters: str | int) -> Any:
    """Send one request to a part at a base address; raise a `BatonError` with its own words for any answer but 200."""
    try:
        answer = httpx.request(
            method,
            base + path,
            params=parameters or None,
            content=body,
            headers={"content-type": "application/json"},
            timeout=30,
            trust_env=not is_local(base),
        )
    except httpx.TransportError as error:
        raise UnreachableError(f"no {part} answers at {base}: start one with `baton up`") from error
    if answer.status_code == httpx.codes.OK:
        return orjson.loads(answer.content)
    # 504: the part is there, and something that it needs is not
    kind = UnreachableError if answer.status_code == httpx.codes.GATEWAY_TIMEOUT else BatonError
    raise kind(f"the {part} answered {answer.status_code}: {_detail(answer)}")


def is_local(url: str) -> bool:
    """Say whether an address is this machine's, which no proxy can reach."""
    return httpx.URL(url).host in {"127.0.0.1", "localhost", "::1"}


def _detail(answer: httpx.Response) -> str:
    try:
        detail = orjson.loads(answer.content)["detail"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return answer.text
    return "; ".join(map(_fault, detail)) if isinstance(detail, list) else str(detail)


def _fault(fault: dict[str, Any]) -> str:
    if "field" in fault:  # of a row to predict
        return f"{fault['field']}: expected {fault.get('expected')}"
    return f"{'.'.join(map(str, fault.get('loc', [])[1:]))}: {fault.get('msg')}"
