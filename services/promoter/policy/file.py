"""The policy file: defaults for every model, and policies of single models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.promoter.policy.policy import Policy, Task
from shared.errors import SettingsError
from shared.metrics import METRICS


class Policies(BaseModel):
    """`defaults` hold for every model; an entry under `models` overrides them field by field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    defaults: Policy = Field(default_factory=Policy)
    models: dict[str, Policy] = Field(default_factory=dict)

    def of(self, model: str, task: Task) -> Policy:
        """Return the complete policy of a model."""
        return self.merged(model).for_task(task)

    def merged(self, model: str) -> Policy:
        """Return the policy of a model as far as it does not depend on the model's task."""
        own = self.models.get(model, Policy())
        return self.defaults.model_copy(update=own.model_dump(exclude_unset=True))


def read_policies(file: Path | None) -> Policies:
    """Read the policy file, the standard policies without one; raise `SettingsError` listing every fault."""
    if file is None:
        return Policies()
    try:
        text = file.read_text(encoding="utf-8")
        content = yaml.load(text, _Loader)  # nosec B506 # noqa: S506 - a SafeLoader
        policies = Policies.model_validate(content or {})
    except OSError as error:
        raise SettingsError(f"the policy file {file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"the policy file {file} is not YAML: {error}") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors()]
        raise _unusable(file, faults) from error
    if faults := list(_unknown_metrics(policies)):
        raise _unusable(file, faults)
    return policies


def _unusable(file: Path, faults: list[str]) -> SettingsError:
    return SettingsError(
        f"the policy file {file} is not usable: {'; '.join(faults)} (docs/policy.md describes each key)"
    )


def _unknown_metrics(policies: Policies) -> Iterator[str]:
    """Name every metric that no comparison computes: it would refuse every challenger."""
    places = {"defaults": policies.defaults} | {f"models.{name}": policy for name, policy in policies.models.items()}
    for place, policy in places.items():
        named = {f"{place}.metric": policy.metric or METRICS[0]} | {f"{place}.guards.{m}": m for m in policy.guards}
        for key, metric in named.items():
            if metric not in METRICS:
                yield f"{key}: {metric!r} is not computed, only {', '.join(METRICS)}"


class _Loader(yaml.SafeLoader):
    """YAML without surprises: a key that is given twice is an error, not the last one of both."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; raise `yaml.YAMLError` for a key that is there already."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(
                f"{', '.join(sorted(twice))} is given twice in line {node.start_mark.line + 1} and after"
            )
        return super().construct_mapping(node, deep)
