"""Connections, heads and silences are bounded: nobody's sockets may use up what the games need."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from innkeeper.wiring import bounded_http
from innkeeper.wiring.bounded_http import BoundedHttpProtocol

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Says where it was asked."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@asynccontextmanager
async def listening() -> AsyncIterator[int]:
    """A server of bounded connections; its port."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedHttpProtocol(config=config, server_state=state, app_state={}),
        "127.0.0.1",
        0,
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        for one in list(state.connections):
            one.transport.abort()


async def ask(port: int, *pieces: bytes) -> bytes:
    """Send the pieces one after the other; all that comes back until the other end closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_request_in_pieces_is_answered() -> None:
    async with listening() as port:
        answer = await ask(port, b"GET /he", b"re HTTP/1.1\r\nConnection: close\r\n", b"\r\n")
        assert b"/here" in answer


async def test_what_is_one_too_many_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "connections_max", lambda: 2)
    async with listening() as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert await ask(port) == b""
        held.pop()[1].close()
        request = b"GET /now HTTP/1.1\r\nConnection: close\r\n\r\n"
        while not (answer := await ask(port, request)):  # the closing takes a turn of the loop
            await asyncio.sleep(0)
        assert b"/now" in answer
        held.pop()[1].close()


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: a"])
async def test_silence_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_S", 0.05)
    async with listening() as port:
        assert await ask(port, begun) == b""


async def test_a_head_without_end_is_refused() -> None:
    async with listening() as port:
        more = [b"x: " + b"y" * 4000 + b"\r\n"] * 100
        # Without a bound the server would go on waiting for the end of the head.
        assert b"200 OK" not in await ask(port, b"GET / HTTP/1.1\r\n", *more)
