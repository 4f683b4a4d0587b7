"""What a promoter takes over HTTP: commands with a token, small and as JSON, under names that are its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from services.promoter.routes.guard import MOST_BYTES, guard
from services.promoter.settings import PromoterSettings
from shared.keys import Keys, line_of, new_key

TOKEN = new_key()
MINE = {"authorization": f"Bearer {TOKEN}"}
PATH = "/models/m/promote"


@asynccontextmanager
async def client(folder: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    file = folder / "tokens"
    file.write_text(line_of("ann", TOKEN))
    tokens, app = Keys(file), FastAPI()
    tokens.read()
    guard(app, PromoterSettings(database_url="postgresql://x", **settings), tokens)

    @app.post(PATH)
    async def command(body: dict[str, str]) -> dict[str, str]:
        return body

    @app.get("/{path:path}")
    async def read(request: Request) -> str:
        return request.url.path

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8001") as asking:
        yield asking


async def test_a_command_needs_a_token_wherever_the_promoter_is_bound(tmp_path: Path) -> None:
    for settings in ({}, {"open_reads": True}, {"host": "0.0.0.0"}, {"tokens_file": None}):
        async with client(tmp_path, **settings) as asking:
            assert (await asking.post(PATH, json={"a": "b"}, headers=MINE)).json() == {"a": "b"}
            for headers in ({}, {"authorization": "Bearer "}, {"x-api-key": new_key()}):
                refused = await asking.post(PATH, json={"a": "b"}, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == 'Bearer realm="baton"'
                assert refused.json()["detail"]


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({}, 200),
        ({"host": "0.0.0.0"}, 401),
        ({"host": "0.0.0.0", "open_reads": True}, 200),
        ({"open_reads": False}, 401),
    ],
)
async def test_reads_are_open_where_only_this_machine_asks(
    tmp_path: Path, settings: dict[str, Any], status: int
) -> None:
    async with client(tmp_path, **settings) as asking:
        assert (await asking.get("/status")).status_code == status
        assert (await asking.get("/status", headers=MINE)).status_code == 200
        for path in ("/health", "/metrics"):
            assert (await asking.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/plain"}, b'{"a": "b"}', 415),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=b", 415),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--", 415),
        ({}, b'{"a": "b"}', 415),
        ({"content-type": "application/json"}, b'"' + b"x" * MOST_BYTES + b'"', 413),
        ({"content-type": "Application/JSON; charset=utf-8"}, b'{"a": "b"}', 200),
    ],
)
async def test_what_a_page_could_send_without_asking_is_refused(
    tmp_path: Path, headers: dict[str, str], body: bytes, status: int
) -> None:
    async with client(tmp_path) as asking:
        assert (await asking.post(PATH, content=body, headers=MINE | headers)).status_code == status


async def test_a_body_of_untold_length_is_refused(tmp_path: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    async with client(tmp_path) as asking:
        headers = MINE | {"content-type": "application/json"}
        assert (await asking.post(PATH, content=body(), headers=headers)).status_code == 411


async def test_no_page_of_another_origin_is_told_anything(tmp_path: Path) -> None:
    page = {"origin": "http://elsewhere.example", "access-control-request-method": "POST"}
    async with client(tmp_path) as asking:
        answers = [
            await asking.options(PATH, headers=page),
            await asking.get("/status", headers=page),
            await asking.post(PATH, json={}, headers=page | MINE),
        ]
    assert [answer.status_code for answer in answers] == [405, 200, 200]
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({}, "localhost:8001", 200),
        ({}, "127.0.0.1", 200),
        ({}, "[::1]:8001", 200),
        ({}, "elsewhere.example:8001", 400),
        ({"host": "0.0.0.0", "open_reads": True}, "elsewhere.example", 200),
        ({"host": "0.0.0.0", "open_reads": True, "allowed_hosts": "promoter, localhost"}, "promoter:8001", 200),
        ({"host": "0.0.0.0", "open_reads": True, "allowed_hosts": "promoter, localhost"}, "elsewhere.example", 400),
    ],
)
async def test_a_name_that_a_page_made_up_for_this_address_is_refused(
    tmp_path: Path, settings: dict[str, Any], host: str, status: int
) -> None:
    async with client(tmp_path, **settings) as asking:
        assert (await asking.get("/status", headers={"host": host})).status_code == status
