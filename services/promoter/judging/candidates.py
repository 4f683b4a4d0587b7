"""Candidates: which of a model's versions the policy should judge when a person leaves the choice to it."""

import math
from collections.abc import Collection

from services.promoter.policy.file import Policies
from services.promoter.policy.policy import Task
from shared.registry import Registry
from shared.versions import Version


def best_version(
    registry: Registry, policies: Policies, model: str, rejected: Collection[tuple[str, str | None]]
) -> Version | None:
    """Return the version with the best value of the policy's metric in its run, the newest where none has one.

    Versions that predictors rejected are left out. Blocks: it asks MLflow for every version's run.
    """
    versions = [found for found in registry.versions(model) if (found.version, found.run_id) not in rejected]
    if not versions:
        return None
    return max(versions, key=lambda found: (_merit(registry, policies, found), int(found.version)))


def _merit(registry: Registry, policies: Policies, version: Version) -> float:
    return merit(registry.metrics(version.run_id) if version.run_id else {}, policies, version.model)


def merit(metrics: dict[str, float], policies: Policies, model: str) -> float:
    """Return how good a run is by the policy's metric, higher is better; minus infinity without that metric."""
    task: Task = "regression" if "r2" in metrics else "classification"
    policy = policies.of(model, task)
    value = metrics.get(policy.metric or "", math.nan)
    if not math.isfinite(value):
        return -math.inf
    return value if policy.higher_is_better else -value
