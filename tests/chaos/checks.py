"""What must hold after any chaos: each check takes evidence and returns a sentence for each violation."""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from tests.chaos.evidence import Captured, Evidence, Published, Report, Serving, Witnessed

Check = Callable[[Evidence], Iterator[str]]
Changes = list[tuple[int, str | None]]
"""The champion changes of one model in order: generation and version."""


def each_request_ends_once(evidence: Evidence) -> Iterator[str]:
    """Each train request ended in one event, and no other request did."""
    ends = Counter(ending.request for ending in evidence.endings)
    for request in evidence.requests:
        if ends[request] != 1:
            yield f"request {request} ended {ends[request]} times"
    for request in ends.keys() - set(evidence.requests):
        yield f"request {request} ended, and nobody asked for it"


def each_request_makes_one_version(evidence: Evidence) -> Iterator[str]:
    """A request that finished made the version that it says, one that failed made none, and none made two."""
    made: dict[str, dict[str, str]] = defaultdict(dict)
    for version in evidence.registered:
        made[version.request][version.run_id] = version.version
    for request, runs in made.items():
        if len(runs) > 1:
            yield f"request {request} made {len(runs)} versions: {', '.join(runs.values())}"
    for ending in evidence.endings:
        found = {version.version for version in evidence.registered if version.request == ending.request}
        if ending.version is None and found:
            yield f"request {ending.request} failed, and made version {', '.join(sorted(found))}"
        if ending.version is not None and ending.version not in found:
            yield f"request {ending.request} finished with version {ending.version}, which is not registered"


def each_change_has_one_generation(evidence: Evidence) -> Iterator[str]:
    """The ledger holds what the witness saw, change by change, numbered from 1 without gaps."""
    committed = changes_of(evidence.witnessed)
    captured: dict[str, Changes] = defaultdict(list)
    for row in sorted(evidence.captured, key=lambda row: (row.model, row.generation)):
        captured[row.model].append((row.generation, row.version))
    for model in committed.keys() | captured.keys():
        yield from _differences(f"{model}: the ledger", committed.get(model, []), captured.get(model, []))


def changes_of(witnessed: Iterable[Witnessed]) -> dict[str, Changes]:
    """Return the champion changes of each model: each transaction's final state that differs from the one before."""
    finals: dict[str, dict[int, str | None]] = defaultdict(dict)
    for row in witnessed:
        finals[row.model].pop(row.transaction, None)
        finals[row.model][row.transaction] = row.version
    changes: dict[str, Changes] = {}
    for model, states in finals.items():
        versions = [None, *states.values()]
        moved = [after for before, after in pairwise(versions) if before != after]
        changes[model] = list(enumerate(moved, start=1))
    return changes


def each_generation_is_published_once(evidence: Evidence) -> Iterator[str]:
    """Each captured change is one event in the stream, or one rejection by the promoter; a model's are in order."""
    expected = Counter((row.model, row.generation, row.version) for row in evidence.captured)
    said = Counter((event.model, event.generation, event.version) for event in evidence.published)
    for change in expected.keys() | said.keys():
        if expected[change] != 1 or said[change] != 1:
            yield f"{_name(*change)}: {expected[change]} times in the ledger, {said[change]} times on the bus"
    for model, generations in _by_model(event for event in evidence.published if not event.rejected).items():
        if generations != sorted(generations):
            yield f"{model}: published out of order: {generations}"


def generations_only_grow(evidence: Evidence) -> Iterator[str]:
    """No worker went back to an older change, as long as its process lived."""
    starts = sorted(evidence.worker_starts)
    lives: dict[tuple[str, int, str, int], list[Report]] = defaultdict(list)
    for report in evidence.reports:
        lives[report.predictor, report.worker, report.model, bisect(starts, report.at)].append(report)
    for (predictor, worker, model, _), reports in lives.items():
        for before, after in pairwise(reports):
            if after.generation <= before.generation:
                went = f"went from generation {before.generation} to {after.generation}"
                yield f"{predictor} worker {worker}: {model} {went}"


def predictors_serve_champions(evidence: Evidence) -> Iterator[str]:
    """Every worker serves the last change of each model that was published, and nothing else."""
    wanted = champions_of(evidence.published)
    if not evidence.serving:
        yield "no worker says what it serves"
    for worker, serving in evidence.serving.items():
        for model in wanted.keys() | serving.keys():
            if serving.get(model) != wanted.get(model):
                yield f"worker {worker} serves {serving.get(model)} of {model} instead of {wanted.get(model)}"


def champions_of(published: Iterable[Published]) -> Serving:
    """Return who is to be served: each model's last change that was not rejected, unless that withdraws it."""
    last: dict[str, Published] = {}
    for event in published:
        if not event.rejected and (event.model not in last or event.generation > last[event.model].generation):
            last[event.model] = event
    return {model: (event.version, event.generation) for model, event in last.items() if event.version is not None}


def one_decision_per_event(evidence: Evidence) -> Iterator[str]:
    """Each finished run and each command has one standing decision, said once and carried out."""
    standing = Counter(row.source_event for row in evidence.decided if not row.superseded)
    finished = [ending.event_id for ending in evidence.endings if ending.version is not None]
    for event in {*finished, *evidence.commands, *standing}:
        if standing[event] != 1:
            yield f"event {event} has {standing[event]} standing decisions"
    said = Counter(evidence.announced)
    for row in evidence.decided:
        if said[row.id] != 1 and not (row.superseded and said[row.id] == 0):
            yield f"decision {row.id} on {row.source_event} was said {said[row.id]} times"
        if row.open:
            yield f"decision {row.id} on {row.source_event} was never carried out"
    for decision in said.keys() - {row.id for row in evidence.decided}:
        yield f"decision {decision} was said, and is not in the ledger"


def no_decision_promotes_twice(evidence: Evidence) -> Iterator[str]:
    """A decision stands behind one champion change at most."""
    for decision, count in Counter(row.decision for row in evidence.captured if row.decision).items():
        if count > 1:
            yield f"decision {decision} made {count} champion changes"


def stages_agree(evidence: Evidence) -> Iterator[str]:
    """A champion is in stage Production, and no other version of a model that has one."""
    champions = {row.model: row.version for row in _last_captured(evidence.captured) if row.version is not None}
    for row in evidence.staged:
        is_champion = champions.get(row.model) == row.version
        if row.model in champions and is_champion != (row.stage == "Production"):
            yield f"{row.model} version {row.version} is in stage {row.stage}, champion is {champions[row.model]}"


CHECKS: tuple[Check, ...] = (
    each_request_ends_once,
    each_request_makes_one_version,
    each_change_has_one_generation,
    each_generation_is_published_once,
    generations_only_grow,
    predictors_serve_champions,
    one_decision_per_event,
    no_decision_promotes_twice,
    stages_agree,
)


def violations(evidence: Evidence) -> list[str]:
    """Return what does not hold, each with the check that says so."""
    return [f"{check.__name__}: {violation}" for check in CHECKS for violation in check(evidence)]


def _differences(whose: str, committed: Changes, captured: Changes) -> Iterator[str]:
    for number, (seen, held) in enumerate(zip(committed, captured, strict=False), start=1):
        if seen != held:
            yield f"{whose} holds {held} where the witness saw {seen} (generation, version), at change {number}"
            return
    if len(committed) != len(captured):
        yield f"{whose} holds {len(captured)} changes where the witness saw {len(committed)}"


def _by_model(events: Iterable[Published]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for event in events:
        found[event.model].append(event.generation)
    return found


def _last_captured(captured: Iterable[Captured]) -> Iterable[Captured]:
    return {row.model: row for row in sorted(captured, key=lambda row: row.generation)}.values()


def _name(model: str, generation: int, version: str | None) -> str:
    return f"{model} generation {generation} ({f'version {version}' if version else 'withdrawn'})"
