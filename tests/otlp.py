"""A receiver of OpenTelemetry's traces, http/protobuf, for tests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """A span as it was received; times in seconds since 1970."""

    name: str
    service: str
    instance: str
    trace: str
    started: float
    ended: float
    attributes: dict[str, Any] = field(default_factory=dict)


class Receiver:
    """Keeps the spans that it is sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Span] = []

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = _values(group.resource.attributes)
            self.spans += [
                Span(
                    name=span.name,
                    service=about["service.name"],
                    instance=about["service.instance.id"],
                    trace=span.trace_id.hex(),
                    started=span.start_time_unix_nano / 1e9,
                    ended=span.end_time_unix_nano / 1e9,
                    attributes=_values(span.attributes),
                )
                for scope in group.scope_spans
                for span in scope.spans
            ]

    def named(self, trace: str, name: str) -> list[Span]:
        return [span for span in self.spans if (span.trace, span.name) == (trace, name)]


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def receiving(address: str = "127.0.0.1") -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            receiver.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://{address}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
