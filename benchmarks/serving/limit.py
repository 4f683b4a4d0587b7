"""The limit: a bare ASGI application around onnxruntime; orjson in, one tensor, orjson out, and nothing else.

It trusts its caller: no validation, no names of fields, no metrics, no version. `BENCH_MODEL` is the ONNX file.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import onnxruntime as ort
import orjson

HEADERS = [(b"content-type", b"application/json")]


class Limit:
    """Answers `[[number, ...], ...]` with the graph's probabilities."""

    def __init__(self, model: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (self._input,) = (value.name for value in self._session.get_inputs())

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        (answer,) = self._session.run(["probabilities"], {self._input: np.array(orjson.loads(body), np.float64)})
        content = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = [*HEADERS, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def create_app() -> Limit:
    """Return the application, for uvicorn."""
    return Limit(os.environ["BENCH_MODEL"])
