"""Cleanup: deleting old versions of a model with their bundles, and none that anybody counts on."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.promoter.ledger.ledger import Ledger
from shared.bus import Bus
from shared.events import BundleRef, DeletedVersion
from shared.faults import point
from shared.registry import Registry
from shared.telemetry import logger
from shared.versions import Version

DIGEST = re.compile(r"sha256:[0-9a-f]+")  # anybody may write tags: what looks otherwise is no bundle of ours

log = logger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a cleanup deletes, and which of the older versions it keeps for what reason."""

    model: str
    deleted: list[DeletedVersion]
    kept: dict[str, str]

    @property
    def sentence(self) -> str:
        """Say it in one sentence."""
        gone = ", ".join(version.version for version in self.deleted)
        done = f"deleted {len(self.deleted)} versions of {self.model} ({gone})" if gone else "nothing to delete"
        kept = ", ".join(f"{version} ({why})" for version, why in self.kept.items())
        return f"{done}; kept {kept}" if kept else done


def plan(model: str, versions: Sequence[Version], keep: int, needed: Mapping[str, str]) -> Plan:
    """Plan to delete all but the newest `keep` versions and those that are needed; `versions` are oldest first."""
    old = versions[: max(len(versions) - keep, 0)]
    deleted = [
        DeletedVersion(version=version.version, run_id=version.run_id, bundle=_own_bundle(version))
        for version in old
        if version.version not in needed
    ]
    return Plan(
        model, deleted, {version.version: needed[version.version] for version in old if version.version in needed}
    )


def _own_bundle(version: Version) -> BundleRef | None:
    return version.bundle if version.bundle and DIGEST.fullmatch(version.bundle.digest) else None


class Cleanup:
    """Plans and carries out; what was planned may be carried out again, by whoever takes over."""

    def __init__(self, bus: Bus, registry: Registry, ledger: Ledger) -> None:
        self._bus = bus
        self._registry = registry
        self._ledger = ledger

    async def plan(self, model: str, keep: int) -> Plan:
        """Say what would go; nothing is deleted."""
        versions = await asyncio.to_thread(self._registry.versions, model)
        needed = await self._needed(model, versions) if versions else {}
        return plan(model, versions, keep, needed)

    async def carry_out(self, model: str, deleted: Sequence[DeletedVersion]) -> None:
        """Delete versions, then the bundles that no other version of any model has.

        A version that became needed since it was planned stays.
        """
        for version in deleted:
            await self._delete(model, version)
            point("promoter.deleted")
        for digest in {version.bundle.digest for version in deleted if version.bundle}:
            if not await self._has_bundle(digest):
                await self._bus.delete_bundle(digest)

    async def _delete(self, model: str, doomed: DeletedVersion) -> None:
        versions = await asyncio.to_thread(self._registry.versions, model)
        found = next((version for version in versions if version.version == doomed.version), None)
        if found is None or found.run_id != doomed.run_id:  # gone already, or of a model that was made anew
            return
        if why := (await self._needed(model, versions)).get(found.version):
            log.warning("version is kept", model=model, version=found.version, why=why)
            return
        await asyncio.to_thread(self._registry.delete_version, model, found.version)
        log.info("version deleted", model=model, version=found.version)

    async def _needed(self, model: str, versions: Sequence[Version]) -> dict[str, str]:
        """Return the versions that somebody counts on, each with why."""
        aliases = await asyncio.to_thread(self._registry.aliases, model)
        pointed_to = {version: f"has the alias {alias}" for alias, version in aliases.items()}
        return await self._predecessors(model, versions) | pointed_to | await self._ledger.needed(model)

    async def _predecessors(self, model: str, versions: Sequence[Version]) -> dict[str, str]:
        """Return the versions that the next rollback would go to, by hand and by rejection."""
        rejected = await self._ledger.rejected(model)
        usable = {found.version for found in versions if (found.version, found.run_id) not in rejected}
        lines = [await self._ledger.predecessors(model, served=served) for served in (False, True)]
        nearest = [next((version for version in line if version in usable), None) for line in lines]
        return {version: "was champion before" for version in nearest if version}

    async def _has_bundle(self, digest: str) -> bool:
        others = await asyncio.to_thread(self._registry.versions_with_bundle, digest)
        return bool(others) or await self._ledger.is_bundle_needed(digest)
