"""Request a training with plain nats-py, and print what happens until it ends."""

import asyncio
import json
import os

import nats


async def main() -> None:
    client = await nats.connect(os.environ.get("BATON_NATS_URL", "nats://127.0.0.1:4222"))
    run = await client.subscribe("run.*.heart-disease")
    request = {"recipe": "logistic-regression", "dataset": "heart-disease", "params": {"C": 0.5}}
    await client.jetstream().publish("train.requested.heart-disease", json.dumps(request).encode())
    async for message in run.messages:
        print(message.subject, message.data.decode(), flush=True)
        if message.subject.startswith(("run.finished.", "run.failed.")):
            break
    await client.close()


asyncio.run(main())
