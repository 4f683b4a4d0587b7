"""The application with one answer, which says what HTTP alone costs."""

from typing import Any

from benchmarks.serving.constant import Constant


async def test_it_reads_a_request_to_its_end_and_answers_as_always() -> None:
    parts = [{"more_body": True}, {"more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await Constant(b"[[0.5,0.5]]")({"type": "http"}, receive, send)
    assert parts == []
    head, body = sent
    assert (head["status"], body["body"]) == (200, b"[[0.5,0.5]]")
    assert (b"content-length", b"11") in head["headers"]
