"""The UDP echo that game clients ping, beside the WebSocket echo of the API (behaviour.md 8.2).

Whoever can send a datagram can write any sender into it. So an answer is never larger than what came, few go
to one address, and none to where another echo might answer back.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

# Below every path's size limit, so that no answer is ever sent in pieces. A ping is far smaller.
PAYLOAD_BYTES_MAX = 1200
# A client pings three to five times; behind one address there may be many.
ADDRESS_PER_S, ADDRESS_BURST = 50.0, 100.0
ALL_PER_S, ALL_BURST = 5_000.0, 10_000.0
ADDRESSES_MAX = 16_384
# No player's system sends from these; echo, chargen, DNS and other services do.
SERVICE_PORT_MAX = 1023


class Rate:
    """``burst`` at once, and ``per_s`` in each second after that; for each key, the most recent ones kept."""

    def __init__(
        self, per_s: float, burst: float, keys_max: int, monotonic: Callable[[], float]
    ) -> None:
        self._step_s = 1 / per_s
        self._burst_s = burst / per_s
        self._keys_max = keys_max
        self._monotonic = monotonic
        self._full_at: dict[object, float] = {}

    def take(self, key: object) -> bool:
        """Whether one more is within the bound; one that is not does not count."""
        now, full_at = self._monotonic(), self._full_at
        full = max(full_at.pop(key, now), now) + self._step_s
        # A hair's breadth is left to rounding.
        within = full - now <= self._burst_s + self._step_s * 1e-3
        full_at[key] = full if within else full - self._step_s
        if len(full_at) > self._keys_max:
            del full_at[next(iter(full_at))]
        return within


class UdpEcho(asyncio.DatagramProtocol):
    """Sends each datagram back as it came; what is out of bounds is dropped in silence."""

    def __init__(self, port: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``port`` is our own: a sender with the same one is another echo."""
        self._port = port
        self._all = Rate(ALL_PER_S, ALL_BURST, 1, monotonic)
        self._each = Rate(ADDRESS_PER_S, ADDRESS_BURST, ADDRESSES_MAX, monotonic)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        """The socket is open."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Answer, where that does no harm."""
        assert self._transport is not None, "connection_made() comes first"
        host, port = addr[:2]
        if len(data) > PAYLOAD_BYTES_MAX or port <= SERVICE_PORT_MAX or port == self._port:
            return
        if self._each.take(_home(host)) and self._all.take("all"):
            self._transport.sendto(data, addr)

    def error_received(self, exc: Exception) -> None:
        """An earlier answer reached nobody, which is no news: senders go away."""


async def open_udp_echo(bound: socket.socket) -> asyncio.DatagramTransport:
    """Answer on a bound UDP socket until the transport is closed."""
    loop, port = asyncio.get_running_loop(), bound.getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(lambda: UdpEcho(port), sock=bound)
    return transport


def _home(host: str) -> str:
    """Who is behind an address: of IPv6 the first half, for one home has all the rest."""
    if ":" not in host or host.startswith("::ffff:"):
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return packed[:8].hex()
