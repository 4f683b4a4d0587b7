"""The policy file: defaults for every model, and policies of single models."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.promoter.policy import Policy, Task
from shared.errors import SettingsError


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
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        return Policies.model_validate(content)
    except OSError as error:
        raise SettingsError(f"the policy file {file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"the policy file {file} is not YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'file'}: {f['msg']}" for f in error.errors())
        raise SettingsError(f"the policy file {file} is not usable: {faults}") from error
