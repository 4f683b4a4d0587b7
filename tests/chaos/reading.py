"""Reading the evidence of a run: from PostgreSQL, from the streams, from the predictor's workers."""

import asyncio
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import httpx
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from services.promoter.cases import PROMOTER
from shared import cloudevents
from shared.event import Event, Stream, subject_token
from shared.events import (
    ModelPromoted,
    ModelRejected,
    ModelServing,
    ModelWithdrawn,
    PromotionDecided,
    RunFailed,
    RunFinished,
    parse,
)
from shared.patience import patiently
from shared.versions import TAG_REQUEST
from tests.chaos.evidence import (
    Captured,
    Decided,
    Ending,
    Evidence,
    Published,
    Registered,
    Report,
    Serving,
    Staged,
    Witnessed,
)
from tests.chaos.witness import rows

BATCH = 200
TRIES = 60  # connections until every worker has answered; each goes to any of them

WITNESSED = "SELECT transaction, model, version FROM witness.champions WHERE model = ANY(%s) ORDER BY id"
CAPTURED = "SELECT model, generation, version, decision FROM baton.promotions WHERE model = ANY(%s)"
DECIDED = """
    SELECT d.id, d.source_event, d.superseded, coalesce(i.state = 'open', false) AS open
    FROM baton.decisions d LEFT JOIN baton.intents i ON i.decision = d.id WHERE d.model = ANY(%s)
"""
REGISTERED = """
    SELECT t.value AS request, v.version::text AS version, v.run_id FROM model_version_tags t
    JOIN model_versions v ON v.workspace = t.workspace AND v.name = t.name AND v.version = t.version
    WHERE t.name = ANY(%s) AND t.key = %s
"""
STAGED = """
    SELECT name AS model, version::text AS version, current_stage AS stage FROM model_versions
    WHERE name = ANY(%s) AND current_stage <> 'Deleted_Internal'
"""


@dataclass(frozen=True)
class Stored:
    """An event as a stream holds it; `at` in seconds since the epoch."""

    id: str
    model: str
    event: Event
    at: float


def from_database(evidence: Evidence, database: str) -> Evidence:
    """Add what PostgreSQL holds."""
    models = list(evidence.models)
    return replace(
        evidence,
        witnessed=[Witnessed(**row) for row in rows(database, WITNESSED, models)],
        captured=[Captured(**row) for row in rows(database, CAPTURED, models)],
        decided=[Decided(**row) for row in rows(database, DECIDED, models)],
        registered=[Registered(**row) for row in rows(database, REGISTERED, models, TAG_REQUEST)],
        staged=[Staged(**row) for row in rows(database, STAGED, models)],
    )


async def from_streams(evidence: Evidence, js: JetStreamContext) -> Evidence:
    """Add what the streams hold."""
    subjects = [f"*.*.{subject_token(model)}" for model in evidence.models]
    said = await stored(js, Stream.CHAMPIONS, subjects) + await stored(js, Stream.LIFECYCLE, subjects)
    return replace(
        evidence,
        endings=[ending for event in said for ending in _endings(event)],
        published=[published for event in said for published in _published(event)],
        reports=[report for event in said for report in _reports(event)],
        announced=[event.event.decision for event in said if isinstance(event.event, PromotionDecided)],
    )


async def stored(js: JetStreamContext, stream: Stream, subjects: list[str]) -> list[Stored]:
    """Return every event of a stream on some subjects; a cluster may have to agree first on who answers."""
    return await patiently(partial(_stored, js, stream, subjects), f"{stream} could not be read")


async def _stored(js: JetStreamContext, stream: Stream, subjects: list[str]) -> list[Stored]:
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.ALL,
        filter_subjects=subjects,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=30.0,
        mem_storage=True,
    )
    info = await js.add_consumer(stream, config)
    consumer = await js.pull_subscribe_bind(info.name, stream)
    found: list[Stored] = []
    while len(found) < (info.num_pending or 0):
        for message in await consumer.fetch(min(BATCH, (info.num_pending or 0) - len(found)), timeout=10):
            model, event = parse(message.subject, message.data)
            at = message.metadata.timestamp.timestamp()
            found.append(Stored(cloudevents.event_id(message.headers) or "", model, event, at))
    await consumer.unsubscribe()
    return found


async def serving(predictor: str, models: Collection[str], workers: int) -> dict[str, Serving]:
    """Return what each worker of a predictor says it serves of some models; those that do not answer are left out."""
    found: dict[str, Serving] = {}
    for _ in range(TRIES):
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:  # a new connection: perhaps another worker
            answer = await client.get(f"{predictor}/models")
        said: dict[str, Any] = json.loads(answer.content)
        found[f"{said['worker']} of {predictor}"] = {
            entry["model"]: (entry["version"], entry["generation"])
            for entry in said["models"]
            if entry["version"] and entry["model"] in models
        }
        if len(found) == workers:
            break
    return found


def _endings(stored: Stored) -> Iterator[Ending]:
    event = stored.event
    if isinstance(event, RunFinished | RunFailed):
        yield Ending(event.request_id, stored.id, event.version if isinstance(event, RunFinished) else None)


def _published(stored: Stored) -> Iterator[Published]:
    match stored.event:
        case ModelPromoted(version=version, generation=generation):
            yield Published(stored.model, generation, version)
        case ModelWithdrawn(generation=generation):
            yield Published(stored.model, generation, None)
        case ModelRejected(predictor=who, version=version, generation=generation) if who == PROMOTER:
            yield Published(stored.model, generation, version, rejected=True)


def _reports(stored: Stored) -> Iterator[Report]:
    event = stored.event
    if isinstance(event, ModelServing):
        yield Report(event.predictor, event.worker, stored.model, event.generation, stored.at)


async def gathered(
    asked: Evidence, database: str, js: JetStreamContext, predictors: Sequence[str], workers: int
) -> Evidence:
    """Return all evidence about the models that were worked on, as it is now; each predictor has so many workers."""
    evidence = await asyncio.to_thread(from_database, asked, database)
    evidence = await from_streams(evidence, js)
    said = [await serving(predictor, asked.models, workers) for predictor in predictors]
    return replace(evidence, serving={worker: served for one in said for worker, served in one.items()})
