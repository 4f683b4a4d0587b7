"""Follow promotions with plain nats-py: first the champion of each model, then every change as it is committed."""

import asyncio
import json
import os

import nats
from nats.js.api import DeliverPolicy


async def main() -> None:
    client = await nats.connect(os.environ.get("BATON_NATS_URL", "nats://127.0.0.1:4222"))
    promotions = await client.jetstream().subscribe(
        "model.promoted.>", stream="CHAMPIONS", deliver_policy=DeliverPolicy.LAST_PER_SUBJECT
    )
    async for message in promotions.messages:
        champion = json.loads(message.data)
        model = message.subject.removeprefix("model.promoted.")
        print(f"{model} version {champion['version']} by {champion['actor']}: {champion['reason']}", flush=True)
        await message.ack()


asyncio.run(main())
