"""The sample game and its bot, as plain programs on loopback."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from innkeeper.cli import bot
from innkeeper.config.values import Address

BINARY = Path(__file__).parents[2] / "samples" / "tag" / "tag"


class Game:
    """One running sample game; its output line by line."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child

    async def line(self, part: str) -> str:
        assert self.child.stdout is not None
        async with asyncio.timeout(10):
            while text := (await self.child.stdout.readline()).decode():
                if part in text:
                    return text
        raise AssertionError(f"ended before it printed {part!r}")

    async def ended(self) -> int:
        async with asyncio.timeout(10):
            return await self.child.wait()


@pytest.fixture
def free_port() -> int:
    """A port that no one has, for UDP and TCP alike."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        return int(tcp.getsockname()[1])


@pytest.fixture
async def start(free_port: int) -> AsyncIterator[Callable[..., Any]]:
    if not BINARY.exists():
        subprocess.run([BINARY.parents[2] / "scripts" / "build-sample.sh"], check=True)
    async with AsyncExitStack() as ending:

        async def run(**env: str) -> Game:
            child = await asyncio.create_subprocess_exec(
                BINARY,
                env={"PORT": str(free_port), **env},
                stdout=asyncio.subprocess.PIPE,
            )

            async def end() -> None:
                if child.returncode is None:
                    child.kill()
                await child.wait()

            ending.push_async_callback(end)
            return Game(child)

        yield run


async def test_a_bot_plays_a_round(start: Any, free_port: int) -> None:
    game = await start()
    await game.line("tcp")
    place = Address("127.0.0.1", free_port)

    played = await bot.play_round(place, place)

    assert played.messages > 20
    assert played.steps == 1
    assert "player 2 is it" in await game.line("is it")


async def test_a_lone_bot_plays_over_udp(start: Any, free_port: int) -> None:
    await (await start()).line("tcp")

    assert (await bot.play_round(Address("127.0.0.1", free_port), None)).steps == 8


async def test_the_bot_says_when_nobody_answers(free_port: int) -> None:
    place = Address("127.0.0.1", free_port)

    with pytest.raises(bot.RoundFailed, match=f"no answer from 127.0.0.1:{free_port}/udp"):
        await bot.play_round(place, None, timeout_s=0.2)


async def test_the_bot_notices_a_wrong_answer() -> None:
    class Wrong(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(b"STATE 99 player 1 at 0 0 it 1 of 1", addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Wrong, local_addr=("127.0.0.1", 0))
    try:
        port = transport.get_extra_info("sockname")[1]
        with pytest.raises(bot.RoundFailed, match="answered 'STATE 99"):
            await bot.play_round(Address("127.0.0.1", port), None)
    finally:
        transport.close()


async def test_it_stops_cleanly_on_sigterm(start: Any) -> None:
    game = await start()
    await game.line("tcp")

    game.child.send_signal(signal.SIGTERM)

    assert await game.ended() == 0


async def test_exit_code_alone_ends_it_at_once(start: Any) -> None:
    assert await (await start(EXIT_CODE="3")).ended() == 3


async def test_crash_after_aborts_or_ends_with_the_code(start: Any) -> None:
    assert await (await start(CRASH_AFTER="1")).ended() == -signal.SIGABRT
    assert await (await start(CRASH_AFTER="1", EXIT_CODE="7")).ended() == 7


async def test_print_lines_prints_numbered_lines(start: Any) -> None:
    game = await start(PRINT_LINES="3")

    assert await game.line("line 3") == "line 3\n"


async def test_the_message_exit_is_for_tests_only(start: Any, free_port: int) -> None:
    await (await start(TEST_WORDS="")).line("tcp")
    _, writer = await asyncio.open_connection("127.0.0.1", free_port)
    reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
    writer.write(b"EXIT 1 5\n")
    assert await reader.readline() == b"EXIT 1 5\n"
    writer.close()


async def test_a_word_of_the_players_choice_ends_it_in_tests(start: Any, free_port: int) -> None:
    game = await start(TEST_WORDS="1")
    await game.line("tcp")
    _, writer = await asyncio.open_connection("127.0.0.1", free_port)
    writer.write(b"EXIT 1 5\n")

    assert await game.ended() == 5
    writer.close()


async def test_it_asks_for_itself_before_it_binds(start: Any) -> None:
    heard: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        heard.append(request)
        body = b'[{"roomId":"r1"}]' if "/active" in request else b'{"status":"starting"}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    game = await start(
        HATHORA_SERVER_URL=f"http://localhost:{port}/base/",
        HATHORA_APP_ID="app-1",
        HATHORA_PROCESS_ID="p-1",
        HATHORA_DEV_TOKEN="secret",
    )

    assert await game.line("asked for process") == "asked for process: 200 starting\n"
    assert await game.line("asked for rooms") == "asked for rooms: 200 r1\n"
    assert "bound" in await game.line("udp")
    assert heard[0].startswith("GET /base/processes/v3/apps/app-1/processes/p-1 HTTP/1.0")
    assert "Authorization: Bearer secret" in heard[0]
    server.close()


async def test_it_starts_even_if_the_api_is_away(start: Any, free_port: int) -> None:
    game = await start(
        HATHORA_SERVER_URL="http://127.0.0.1:1",
        HATHORA_APP_ID="app-1",
        HATHORA_PROCESS_ID="p-1",
        HATHORA_DEV_TOKEN="secret",
    )

    assert "no answer" in await game.line("asked for process")
    assert "bound" in await game.line("udp")
