"""What the Open Inference Protocol V2 tells about server and models."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.predictor.routes.answers import answer
from services.predictor.routes.openapi import VERSION, Document
from services.predictor.routes.openinference import DATATYPES, named_in
from services.predictor.routes.operations import told
from services.predictor.routes.outputs import outputs_of
from services.predictor.slot import Champion, Slots
from services.predictor.status import Status
from shared.errors import NotLoadedError, OverdueError

PLATFORMS = {"onnx": "onnx_onnxv1", "sklearn": "sklearn_skops", "pyfunc": "mlflow_pyfunc"}


class Metadata:
    """`GET /v2/...`."""

    def __init__(
        self, slots: Slots, status: Callable[[], Status], load: Callable[[str], Awaitable[Champion]], limit_s: float
    ) -> None:
        self._slots = slots
        self._status = status
        self._load = load
        self._limit_s = limit_s

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v2", self.server),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2/models/{rest:path}", self.model),
        ]

    async def server(self, _: Request) -> Response:
        """Tell what this server is, and which extensions it has."""
        return answer({"name": "baton", "version": VERSION, "extensions": ["binary_tensor_data"]})

    async def live(self, _: Request) -> Response:
        """Whether this worker lives."""
        return answer({"live": True})

    async def ready(self, _: Request) -> Response:
        """Whether this worker serves what is champion: 200, or 400 as the protocol has it."""
        ready = self._status().ready
        return answer({"ready": ready}, 200 if ready else 400)

    async def model(self, request: Request) -> Response:
        """Tell the inputs and outputs of a model, which loads it if need be, or whether it is served."""
        name, version, verb = named_in(request.scope["raw_path"])
        if verb == "ready":
            self._slots.check(name, version)
            return answer({"name": name, "ready": True})
        return answer(described((await self._champion(name)).of_version(version)))

    async def _champion(self, model: str) -> Champion:
        try:
            return self._slots.champion(model)
        except NotLoadedError:
            try:
                async with asyncio.timeout(self._limit_s):
                    return await self._load(model)
            except TimeoutError:
                raise OverdueError(f"{model} was not loaded within {self._limit_s:g} s") from None

    def schemas(self) -> Document:
        """Return no schemas: the protocol's own are well known."""
        return {}

    def fixed(self, _: Champion | None) -> Document:
        """Describe the server's routes."""
        return {
            "/v2": told("Open Inference Protocol: this server and its extensions"),
            "/v2/health/live": told("Open Inference Protocol: whether this worker lives"),
            "/v2/health/ready": told("Open Inference Protocol: whether it serves", on400="Not yet, or not any more."),
        }

    def of_model(self, path: str, champion: Champion) -> Document:
        """Describe a model's own routes."""
        away = "No such model is served here."
        return {
            f"/v2/models/{path}": told(f"Inputs and outputs of {champion.model}", on404=away),
            f"/v2/models/{path}/ready": told(f"Whether {champion.model} is served", on404=away),
        }


def described(champion: Champion) -> dict[str, Any]:
    """Return a model's metadata: one tensor per input, each of shape [rows]."""
    manifest = champion.verified.manifest
    inputs = [{"name": one.name, "datatype": DATATYPES[one.type], "shape": [-1]} for one in manifest.inputs]
    outputs = [
        {"name": name, "datatype": datatype, "shape": shape}
        for name, (datatype, shape) in outputs_of(manifest.output).items()
    ]
    head = {"name": champion.model, "versions": [champion.version], "platform": PLATFORMS[manifest.runtime]}
    return {**head, "inputs": inputs, "outputs": outputs}
