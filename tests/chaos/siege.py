"""The siege of a NATS cluster: each server is killed in turn; the next one only when the one before has caught up."""

import asyncio
import signal

from tests.chaos.journal import Journal
from tests.chaos.promotions import Promotions
from tests.nodes import Nodes


async def siege(nodes: Nodes, promotions: Promotions, journal: Journal) -> None:
    """Kill each server once: while it is away, and when it is back, a promotion has to reach everybody."""
    for node in nodes.members:
        journal.note(f"== kill {node.name}")
        await asyncio.to_thread(node.end, signal.SIGKILL)
        await promotions.reach_all()
        journal.note(f"== start {node.name}")
        nodes.start(node)
        await asyncio.to_thread(nodes.wait_until_healthy)
        await promotions.reach_all()
