"""What is written in one turn of the loop goes out in one piece, in order, and nothing is held for long."""

import asyncio
from typing import cast

import pytest

from innkeeper.wiring.whole_writes import HELD_BYTES_MAX, WholeWrites


class Recorded:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.calls: list[str | bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def close(self) -> None:
        self.calls.append("close")
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")


@pytest.fixture
def inner() -> Recorded:
    return Recorded()


@pytest.fixture
async def transport(inner: Recorded) -> asyncio.Transport:
    held = WholeWrites(cast(asyncio.Transport, inner), asyncio.get_running_loop())
    return cast(asyncio.Transport, held)


async def test_the_writes_of_a_turn_are_one(inner: Recorded, transport: asyncio.Transport) -> None:
    transport.write(b"head")
    transport.write(b"body")
    assert inner.calls == []
    await asyncio.sleep(0)
    assert inner.calls == [b"headbody"]
    transport.write(b"more")
    await asyncio.sleep(0)
    assert inner.calls == [b"headbody", b"more"]


async def test_close_comes_after_what_was_written(
    inner: Recorded, transport: asyncio.Transport
) -> None:
    transport.write(b"last")
    transport.close()
    await asyncio.sleep(0)
    assert inner.calls == [b"last", "close"]


async def test_much_is_not_held(inner: Recorded, transport: asyncio.Transport) -> None:
    transport.write(b"x" * HELD_BYTES_MAX)
    assert inner.calls == []
    transport.write(b"y")
    assert [len(call) for call in inner.calls] == [HELD_BYTES_MAX + 1]


async def test_a_transport_that_was_closed_gets_nothing(
    inner: Recorded, transport: asyncio.Transport
) -> None:
    transport.write(b"late")
    inner.close()
    await asyncio.sleep(0)
    assert inner.calls == ["close"]


async def test_all_else_is_passed_on(inner: Recorded, transport: asyncio.Transport) -> None:
    transport.pause_reading()
    assert inner.calls == ["pause_reading"]
