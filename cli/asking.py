"""Asking a part of Baton over HTTP."""

from typing import Any, Literal

import httpx
import orjson

from cli.endpoints import Endpoints
from shared.errors import BatonError, ForbiddenError, UnreachableError

Part = Literal["predictor", "promoter"]
REMEDIES: dict[Part, str] = {
    "predictor": "set BATON_API_KEY to one (`baton key NAME` makes one)",
    "promoter": "set BATON_TOKEN to a token that it knows (`baton key NAME` makes one)",
}


def ask(
    part: Part, where: Endpoints, method: str, path: str, body: bytes | None = None, **parameters: str | int
) -> Any:
    """Send one request to a part; raise a `BatonError` with its own words for any answer but 200."""
    base, key = {"predictor": (where.predictor, where.api_key), "promoter": (where.promoter, where.token)}[part]
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        answer = httpx.request(
            method,
            base + path,
            params=parameters or None,
            content=body,
            headers=headers,
            timeout=30,
            trust_env=not is_local(base),
        )
    except httpx.TransportError as error:
        raise UnreachableError(f"no {part} answers at {base}: start one with `baton up`") from error
    if answer.status_code == httpx.codes.OK:
        return orjson.loads(answer.content)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise ForbiddenError(f"the {part} at {base} lets nobody in without a key that it knows: {REMEDIES[part]}")
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
