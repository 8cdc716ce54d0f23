"""The UDP ping echo: unchanged, bounded, and of no use to whoever forges senders."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from innkeeper.edge import ping
from innkeeper.edge.ping import PAYLOAD_BYTES_MAX, Rate, UdpEcho, open_udp_echo

PLAYER = ("203.0.113.7", 50_000)
PATIENCE_S = 10.0


class Sent:
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        self.datagrams: list[tuple[bytes, Any]] = []

    def sendto(self, data: bytes, addr: Any) -> None:
        self.datagrams.append((data, addr))


@pytest.fixture
def sent() -> Sent:
    return Sent()


def echo(sent: Sent, at: list[float] | None = None) -> UdpEcho:
    """An echo on port 8000; ``at`` holds the present moment."""
    made = UdpEcho(8000, (lambda: 0.0) if at is None else (lambda: at[0]))
    made.connection_made(sent)
    return made


@pytest.fixture(params=["127.0.0.1", "::1"])
async def address(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    bound.bind((request.param, 0))
    bound.setblocking(False)
    transport = await open_udp_echo(bound)
    yield bound.getsockname()
    transport.close()


async def test_what_comes_goes_back_unchanged(address: Any) -> None:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(address)
        for payload in (b"ping", bytes(range(256)), b"x" * PAYLOAD_BYTES_MAX):
            client.send(payload)
            async with asyncio.timeout(PATIENCE_S):
                assert await loop.sock_recv(client, 65_536) == payload


async def test_what_is_too_large_is_dropped_and_the_next_is_answered(address: Any) -> None:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(address)
        client.send(b"x" * (PAYLOAD_BYTES_MAX + 1))
        client.send(b"after")
        async with asyncio.timeout(PATIENCE_S):
            assert await loop.sock_recv(client, 65_536) == b"after"


def test_one_address_is_answered_so_often_and_again_later(sent: Sent) -> None:
    at = [0.0]
    echoing, burst = echo(sent, at), int(ping.ADDRESS_BURST)
    for _ in range(burst + 50):
        echoing.datagram_received(b"ping", PLAYER)
    assert len(sent.datagrams) == burst
    echoing.datagram_received(b"ping", ("203.0.113.8", 50_000))
    assert len(sent.datagrams) == burst + 1
    at[0] = 1.0
    for _ in range(burst):
        echoing.datagram_received(b"ping", PLAYER)
    assert len(sent.datagrams) == burst + 1 + int(ping.ADDRESS_PER_S)


def test_many_forged_senders_are_bounded_together(sent: Sent) -> None:
    echoing = echo(sent)
    for number in range(int(ping.ALL_BURST) + 500):
        echoing.datagram_received(b"ping", (f"10.0.{number // 256}.{number % 256}", 50_000))
    assert len(sent.datagrams) == int(ping.ALL_BURST)


def test_of_ipv6_one_home_is_one_sender(sent: Sent) -> None:
    echoing = echo(sent)
    for number in range(int(ping.ADDRESS_BURST) + 50):
        echoing.datagram_received(b"ping", (f"2001:db8:1:2::{number:x}", 50_000, 0, 0))
    assert len(sent.datagrams) == int(ping.ADDRESS_BURST)


@pytest.mark.parametrize("port", [7, 19, 53, 123, 1023, 8000])
def test_what_could_answer_back_is_not_answered(sent: Sent, port: int) -> None:
    echo(sent).datagram_received(b"ping", ("203.0.113.7", port))
    assert sent.datagrams == []


def test_the_oldest_senders_are_forgotten_first() -> None:
    rate = Rate(1, 1, 2, lambda: 0.0)
    assert [rate.take(key) for key in "aabbc"] == [True, False, True, False, True]
    assert not rate.take("b")
    assert rate.take("a")
