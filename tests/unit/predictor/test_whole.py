"""What is read as one whole request, and what is left to uvicorn."""

import pytest

from services.predictor.whole import Reader, Whole

HEAD = b"POST /predict?x=1 HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n"
GOOD = HEAD + b"\r\n{}"
LEFT = {
    "another method": b"GET /ready HTTP/1.1\r\nhost: here\r\n\r\n",
    "half a line": b"POST /pre",
    "a head alone": HEAD + b"\r\n",
    "half a body": HEAD + b"\r\n{",
    "two requests": GOOD + GOOD,
    "one and the beginning of another": GOOD + b"POST",
    "one that closes": HEAD + b"Connection: close\r\n\r\n{}",
    "an old one": GOOD.replace(b"1.1", b"1.0"),
    "an upgrade": HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n{}",
    "two lengths": HEAD + b"Content-Length: 3\r\n\r\n{}",
    "length and chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "no HTTP": b"POST POST POST\r\n\r\n",
    "a line in a header": HEAD + b"a\nb: c\r\n\r\n{}",
    "nothing": b"",
}


def test_a_whole_request_is_read() -> None:
    headers = [(b"host", b"here"), (b"content-length", b"2")]
    assert Reader().read(GOOD) == Whole(b"/predict", headers, b"{}")


def test_chunks_are_joined() -> None:
    head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    whole = Reader().read(head + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")
    assert whole is not None
    assert whole.body == b"{}"


@pytest.mark.parametrize("data", LEFT.values(), ids=LEFT)
def test_anything_else_is_left_and_the_next_is_read(data: bytes) -> None:
    reader = Reader()
    assert reader.read(data) is None
    assert reader.read(GOOD) is not None
