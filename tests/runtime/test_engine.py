"""The engine's client, against a scripted engine."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from innkeeper.core.errors import RuntimeAway
from innkeeper.runtime.engine import Answer, Engine
from innkeeper.runtime.engine_events import process_events
from innkeeper.runtime.engine_limits import hard_limits, own_limits
from innkeeper.runtime.mounts import mounted_below


def test_what_is_missing_or_in_use_is_seen_in_either_dialect() -> None:
    assert Answer(404, {"message": "x"}).missing
    assert Answer(500, {"message": "looking up: no such container"}).missing
    assert Answer(409, {"message": "Conflict"}).in_use
    assert Answer(500, {"message": "that name is already in use"}).in_use
    assert not Answer(500, {"message": "boom"}).missing
    assert Answer(304, None).ok
    assert "html" in Answer(500, "<html>").message


class StubEngine:
    """A unix socket that answers each request with the next of its replies, then hangs up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replies: list[bytes] = []
        self.asked: list[bytes] = []

    async def serve(self) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            if self.replies:
                writer.write(self.replies.pop(0))
                await writer.drain()
            writer.close()

        return await asyncio.start_unix_server(answer, self.path)


def reply(body: str, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[StubEngine]:
    made = StubEngine(tmp_path / "e.sock")
    server = await made.serve()
    yield made
    server.close()
    await server.wait_closed()


@pytest.fixture
def client(stub: StubEngine) -> Engine:
    return Engine(stub.path)


class TestEngine:
    """The client, with an engine that is scripted."""

    @pytest.mark.parametrize(
        ("oldest", "newest", "version"),
        [("1.24", "1.41", "/v1.41"), ("1.44", "1.52", "/v1.44"), ("1.12", "1.40", "/v1.40")],
    )
    async def test_both_sides_agree_on_a_version(
        self, stub: StubEngine, client: Engine, oldest: str, newest: str, version: str
    ) -> None:
        facts = f'{{"Version":"9","ApiVersion":"{newest}","MinAPIVersion":"{oldest}"}}'
        stub.replies = [reply(facts), reply("[]")]
        await client.open()
        assert not client.is_podman
        assert (await client.call("GET", "/containers/json", params={"all": True})).data == []
        assert f"GET {version}/containers/json?all=true ".encode() in stub.asked[1]
        await client.close()

    async def test_silence_and_nonsense_are_an_engine_that_is_away(
        self, stub: StubEngine, client: Engine
    ) -> None:
        with pytest.raises(RuntimeAway, match="does not answer"):
            await client.open()
        stub.replies = [reply("hello")]
        with pytest.raises(RuntimeAway, match="not a container engine"):
            await client.open()
        await client.close()

    async def test_a_refused_stream_is_one_error(self, stub: StubEngine, client: Engine) -> None:
        stub.replies = [reply('{"message":"no"}', "500 Oops")]
        assert [line async for line in client.lines("GET", "/events")] == [
            {"error": "no", "status": 500}
        ]
        stub.replies = [reply('{"a":1}\n\nplain\n[2]\n')]
        assert [line async for line in client.lines("GET", "/events")] == [
            {"a": 1},
            {"stream": "plain"},
            {"stream": "[2]"},
        ]
        await client.close()

    async def test_hints_go_on_after_the_engine_was_away(
        self, stub: StubEngine, client: Engine
    ) -> None:
        event = '{{"Actor":{{"Attributes":{{"innkeeper.process":"{}"}}}},"Action":"{}"}}\n'
        stub.replies = [
            reply(event.format("one", "die")),
            reply('{"message":"starting"}', "503 Wait"),
            reply(
                '{"Actor":{"Attributes":{}}}\n'
                + event.format("two", "start")
                + event.format("two", "died")
            ),
        ]
        revived = 0
        lost = asyncio.Event()

        async def revive() -> None:
            nonlocal revived
            revived += 1
            if revived == 1:
                raise RuntimeAway("not yet")

        closed = asyncio.Event()
        told: list[str] = []
        async with asyncio.timeout(20):
            async for process_id in process_events(client, "inst", closed, revive, lost.set):
                told.append(process_id)
                if len(told) == 2:
                    closed.set()
        assert told == ["one", "two"]
        assert revived >= 2
        assert lost.is_set()
        await client.close()


class TestLimits:
    """Limits that a container can be given."""

    def test_they_are_no_higher_than_the_engines(self, tmp_path: Path) -> None:
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(tmp_path / "e.sock"))
            listener.listen()
            assert hard_limits(tmp_path / "e.sock") == own_limits()
        with pytest.raises(OSError, match=r"refused|No such"):
            hard_limits(tmp_path / "none.sock")

    def test_mounts_are_found_by_their_place(self) -> None:
        assert Path("/proc") in mounted_below(Path("/")) or mounted_below(Path("/")) == []
        assert mounted_below(Path("/proc/self/fd")) == []
