"""What the access log takes from a request's headers."""

import pytest

from services.predictor.access import LONGEST, ids_in

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("headers", "ids"),
    [
        ([], {}),
        ([(b"host", b"h"), (b"x-request-id", b"r-1")], {"request": "r-1"}),
        ([(b"x-request-id", b"x" * 1000)], {"request": "x" * LONGEST}),
        ([(b"x-request-id", b"\xff\n")], {"request": "\xff\n"}),
        ([(b"traceparent", PARENT)], {"trace": "4bf92f3577b34da6a3ce929d0e0e4736"}),
        ([(b"traceparent", PARENT + b"-more")], {"trace": "4bf92f3577b34da6a3ce929d0e0e4736"}),
        ([(b"traceparent", b"junk"), (b"x-request-id", b"r")], {"request": "r"}),
    ],
)
def test_how_a_request_is_called_elsewhere(headers: list[tuple[bytes, bytes]], ids: dict[str, str]) -> None:
    assert ids_in(headers) == ids
