"""Commands that nobody decides in time: answered with their id over HTTP, given up one by one by the command line."""

from pathlib import Path

import httpx
from fastapi import FastAPI

from cli.endpoints import Endpoints
from cli.promote import _send_all
from services.promoter.commands import Commands
from services.promoter.routes import commands, errors
from shared.bus import NatsBus
from shared.event import Stream
from shared.events import PromotionRequested
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.integration.kit import new_model
from tests.servers import nats_server


async def test_nobody_decides_in_time(tmp_path: Path) -> None:
    with nats_server(tmp_path) as nats_url:
        async with NatsBus(BusSettings(nats_url=nats_url), "test") as bus:
            await declare_when_reachable(bus.js, 1)
            app, model = FastAPI(), new_model()
            errors.handle_errors(app)
            app.include_router(commands.make_router(Commands(bus, patience_s=0.2)))
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://promoter") as client:
                answer = await client.post(f"/models/{model}/promote", json={"actor": "ann", "version": "3"})
            assert answer.status_code == 202
            (stored,) = [await bus.last(PromotionRequested, model)]
            assert stored is not None
            assert stored[1] == PromotionRequested(actor="ann", version="3")
            message = await bus.js.get_msg(Stream.COMMANDS, stored[0])
            assert message.headers is not None
            assert message.headers["ce-id"] == answer.json()["request_id"]


async def test_a_model_that_nobody_decides_on_does_not_hold_up_the_next(tmp_path: Path) -> None:
    with nats_server(tmp_path) as nats_url:
        async with NatsBus(BusSettings(nats_url=nats_url), "test") as bus:
            await declare_when_reachable(bus.js, 1)
            where = Endpoints(nats=nats_url, predictor="", promoter="", mlflow="", database="")
            command, models = PromotionRequested(version="auto", actor="ann"), ["one", "another"]
            outcomes = await _send_all(where, models, command, wait_s=0.2)
            assert list(outcomes) == models
            for model, outcome in outcomes.items():
                assert "no promoter decided" in outcome.gave_up
                stored = await bus.last(PromotionRequested, model)
                assert stored is not None
                assert stored[1] == command
