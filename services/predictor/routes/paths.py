"""Which paths ask for a prediction, and for whose."""

from urllib.parse import unquote

from services.predictor.routes.front import Target
from services.predictor.routes.openinference import PREFIX, named_in
from services.predictor.routes.protocol import PredictionProtocol

MODELLESS = ("/predict", "/invocations")
MOST, LONGEST = 1024, 512  # paths that are remembered: how many, of how many bytes


class Paths:
    """What paths ask for, remembered for those that are asked again.

    Strangers are told apart from others only afterwards: what they may have remembered is little.
    """

    def __init__(self, native: PredictionProtocol, scoring: PredictionProtocol, inference: PredictionProtocol) -> None:
        self._by_end = dict(zip(MODELLESS, (native, scoring), strict=True))
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
        if path.startswith(PREFIX) and path.endswith("/infer"):
            model, version, _ = named_in(raw)
            return Target(path, self._inference, model, version)
        for end, protocol in self._by_end.items():
            if path.startswith("/models/") and path.endswith(end):
                return Target(path, protocol, path[len("/models/") : -len(end)])
        return None
