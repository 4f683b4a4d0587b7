"""Traces: from a train request over the decision and the promotion to each worker's swap and first answer.

A promotion passes through PostgreSQL, may be relayed by another process than the one that decided it, and may be heard
again years later. So no context travels: a trace's id follows from the id of the request that it all goes back to.
"""

import hashlib
import os
import socket
import time
import uuid
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

EXPORT_S = 2  # how long one export may take, and with it the end of a process
GATHER_MS = 500

Attribute = str | int | float | bool


def trace_id(request_id: str) -> int:
    """Return the trace of a request: a UUID's own 128 bits, and those of a digest of any other id."""
    try:
        return uuid.UUID(request_id).int
    except ValueError:
        return int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:16])


class Tracing:
    """A process's spans. Until `start` they are dropped, and OpenTelemetry is not even imported."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None
        self._provider: TracerProvider | None = None

    def start(self, service: str, endpoint: str) -> None:
        """Send spans to an OTLP endpoint (http/protobuf, as `http://127.0.0.1:4318`); an empty one means nobody."""
        if not endpoint:
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        instance = f"{socket.gethostname()}:{os.getpid()}"
        self._provider = provider = TracerProvider(
            resource=Resource.create({"service.name": f"baton-{service}", "service.instance.id": instance})
        )
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_S)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=GATHER_MS))
        self._tracer = provider.get_tracer("baton")

    def stop(self) -> None:
        """Send what was not sent yet; blocks for `EXPORT_S` at most or so where nobody takes it."""
        if self._provider is not None:
            self._provider.shutdown()
        self._provider = self._tracer = None

    def record(
        self,
        name: str,
        request_id: str | None,
        started: float | datetime,
        ended: datetime | None = None,
        /,
        **attributes: Attribute,
    ) -> None:
        """Note what began at a time (seconds since 1970) and ended at another, or now, in the trace of a request."""
        if self._tracer is None or not request_id:
            return
        since_s = started.timestamp() if isinstance(started, datetime) else started
        until_s = ended.timestamp() if ended else time.time()
        span = self._tracer.start_span(
            name,
            _context(request_id),
            attributes={"baton.request_id": request_id} | {f"baton.{key}": value for key, value in attributes.items()},
            start_time=int(since_s * 1e9),
        )
        span.end(int(max(until_s, since_s) * 1e9))


def _context(request_id: str) -> "Context":
    """Return the context of a trace; what its spans have in common is the request, a span that nobody sends."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    request = int.from_bytes(hashlib.sha256(request_id.encode()).digest()[-8:])
    parent = SpanContext(trace_id(request_id), request, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent))


tracing = Tracing()
