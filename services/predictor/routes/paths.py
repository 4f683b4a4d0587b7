"""Which paths ask for a prediction, and for whose."""

from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from services.predictor.routes.front import Target
from services.predictor.routes.openinference import PREFIX, named_in
from services.predictor.routes.protocol import PredictionProtocol

MODELS = "/models/"
MOST, LONGEST = 1024, 512  # paths that are remembered: how many, of how many bytes


class Paths:
    """What paths ask for, remembered for those that are asked again.

    Strangers are told apart from others only afterwards: what they may have remembered is little.
    """

    def __init__(self, native: PredictionProtocol, scoring: PredictionProtocol, inference: PredictionProtocol) -> None:
        self._by_end = {"/predict": native, "/invocations": scoring}
        self._inference = inference
        self.remembered: dict[bytes, Target] = {}

    def find(self, raw: bytes) -> Target | None:
        """Return what a path, as it was sent, asks for; None if it is no prediction."""
        target = self.remembered.get(raw)
        if target is None and (target := self._target(raw)) is not None and len(raw) <= LONGEST:
            if len(self.remembered) == MOST:
                del self.remembered[next(iter(self.remembered))]
            self.remembered[raw] = target
        return target

    def _target(self, raw: bytes) -> Target | None:
        path = unquote(raw.decode("latin-1"))
        if path in self._by_end:
            return Target(path, self._by_end[path])
        if path.startswith(PREFIX):
            model, version, verb = named_in(raw)
            return Target(path, self._inference, model, version) if verb == "infer" else None
        end = "/" + unquote(raw.rpartition(b"/")[2].decode("latin-1"))  # %2F is of a model's name
        protocol, name = self._by_end.get(end), path[len(MODELS) : -len(end)]
        return Target(path, protocol, name) if path.startswith(MODELS) and protocol and name else None


class OnlyPost(BaseRoute):
    """Refuses predictions that are asked for by another method, 405; those by POST never come here."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match whatever path asks for a prediction."""
        is_prediction = scope["type"] == "http" and self._paths.find(scope["raw_path"]) is not None
        return Match.FULL if is_prediction else Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request."""
        raise HTTPException(405, headers={"allow": "POST"})
