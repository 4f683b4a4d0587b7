"""What a protocol is: a way to write rows and answers. Everything between them is the same for all."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from services.predictor.slot import Champion
from shared.bundle import Columns
from shared.errors import BatonError
from shared.event import subject_token
from shared.runtime import Prediction

UNSEEN, MOST_UNSEEN = b"baton-unseen", 20  # inputs that are named

Headers = Iterable[tuple[bytes, bytes]]


class Call(NamedTuple):
    """A request: `model` is None where it names none, `version` where it asks for whichever serves."""

    body: bytes
    headers: Headers = ()
    model: str | None = None
    version: str | None = None

    def header(self, name: bytes) -> str:
        """Return a header by its name in lower case, empty if there is none."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


class Reply(NamedTuple):
    """A response's body, and the headers that are its protocol's own."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)


class Question(NamedTuple):
    """What a request asks of a model, and how its answer is written."""

    columns: Columns
    write: Callable[[Prediction], Reply]


def reply_to(question: Question, champion: Champion, prediction: Prediction) -> Reply:
    """Write an answer; its headers name the inputs with values that training did not see."""
    reply = question.write(prediction)
    if not (unseen := champion.seen.outside(question.columns)):
        return reply
    return reply._replace(
        headers=(*reply.headers, (UNSEEN, ",".join(map(subject_token, unseen[:MOST_UNSEEN])).encode()))
    )


class PredictionProtocol(Protocol):
    """A way to write rows and answers."""

    def read(self, call: Call, champion: Champion) -> Question:
        """Return what is asked; raise a `BatonError` for what cannot be read."""

    def problem(self, error: BatonError) -> Any:
        """Return what is said, as JSON, of a request that failed."""
