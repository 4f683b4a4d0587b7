"""Logging of every service: structlog, one line per fact, as text or as JSON.

A line says what it is about, as far as that is known: `request_id`, `model`, `version`, `generation`, and the
`trace_id` that goes with the request.
"""

import logging
import sys
from contextlib import AbstractContextManager
from typing import Any

import structlog

from shared.tracing import trace_id

ABOUT = ("request_id", "version", "generation")


def configure_logging(service: str, *, level: str = "INFO", as_json: bool = False) -> None:
    """Send structlog and the standard library's logging to stderr in one form, naming the service."""
    shared_processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_trace,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared_processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("httpx", "httpcore", "nats", "urllib3", "matplotlib", "alembic", "faststream"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    structlog.contextvars.bind_contextvars(service=service)


def about(model: str, what: object, **known: str | None) -> AbstractContextManager[Any]:
    """Have every line that is written within, by tasks that begin within, too, name a model and what it is about.

    `what` is an event, or anything else with some of its fields; `known` adds to them. What is empty is left out.
    """
    facts = {"model": model, **{name: getattr(what, name, None) for name in ABOUT}, **known}
    return structlog.contextvars.bound_contextvars(**{name: fact for name, fact in facts.items() if fact})


def _with_trace(_: object, __: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
    """Name the trace of the request that a line is about."""
    if request_id := line.get("request_id"):
        line["trace_id"] = f"{trace_id(str(request_id)):032x}"
    return line


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    return structlog.stdlib.get_logger(name)
