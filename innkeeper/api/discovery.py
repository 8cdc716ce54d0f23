"""DiscoveryV2 and V1: where the regions are, and the WebSocket echo that clients ping (behaviour.md 8.2)."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from innkeeper.api import wire_generated as wire
from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.core.catalog import V1_REGIONS
from innkeeper.interfaces import Context, Tx

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# A ping is 3 to 5 short messages. The server is told the same size, so that it never holds more.
MESSAGE_BYTES_MAX = 16 * 1024
MESSAGES_MAX = 1000
SOCKET_LIMIT_S = 120.0
SOCKETS_MAX = 512
_TOO_LARGE, _TRY_LATER, _ENOUGH = 1009, 1013, 1000

Place = tuple[str, int]


def read_place(request: Request) -> int:
    """The port of ours that the client reached; the scheme's where the transport has none."""
    return request.local_port or (443 if request.scheme == "https" else 80)


def run_endpoints(
    tx: Tx, caller: None, local_port: int, context: Context
) -> list[tuple[str, Place]]:
    """Every region with where it answers pings: this API's own listener."""
    policy = context.policy
    host, port = policy.public_host, local_port
    if policy.public_url is not None:
        url = urlsplit(policy.public_url)
        host, port = url.hostname or host, url.port or (443 if url.scheme == "https" else 80)
    return [(region, (host, port)) for region in policy.regions]


def write_endpoints(places: list[tuple[str, Place]]) -> list[wire.PingEndpoints]:
    """The regions' endpoints."""
    return [
        wire.PingEndpoints(region=region, host=host, port=port) for region, (host, port) in places
    ]


def write_v1_endpoints(places: list[tuple[str, Place]]) -> list[wire.PingEndpoints]:
    """The endpoints of the regions that clients of V1 know: any other name would be an error to them."""
    return write_endpoints([place for place in places if place[0] in V1_REGIONS])


class Echo:
    """Sends back what it gets: text as text, binary as binary. Bounded in size, number and time."""

    def __init__(self, sockets_max: int = SOCKETS_MAX, limit_s: float = SOCKET_LIMIT_S) -> None:
        self._sockets_max = sockets_max
        self._limit_s = limit_s
        self._open = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI WebSocket application."""
        await receive()  # "websocket.connect"
        await send({"type": "websocket.accept"})
        if self._open >= self._sockets_max:
            await _close(send, _TRY_LATER)
            return
        self._open += 1
        limit = asyncio.timeout(self._limit_s)
        try:
            async with limit:
                code = await _echo(receive, send)
        except TimeoutError:
            if not limit.expired():
                raise
            code = _ENOUGH
        finally:
            self._open -= 1
        if code is not None:
            await _close(send, code)


async def _echo(receive: Receive, send: Send) -> int | None:
    """Why we close; ``None`` where the client did."""
    for _ in range(MESSAGES_MAX):
        message = await receive()
        if message["type"] != "websocket.receive":
            return None
        text, data = message.get("text"), message.get("bytes")
        size = len(data) if text is None and data is not None else len((text or "").encode())
        if size > MESSAGE_BYTES_MAX:
            return _TOO_LARGE
        kind = {"bytes": data} if text is None else {"text": text}
        await send({"type": "websocket.send", **kind})
    return _ENOUGH


async def _close(send: Send, code: int) -> None:
    await send({"type": "websocket.close", "code": code})


OPERATIONS = (
    Operation("GetPingServiceEndpoints", read_place, run_endpoints, write_endpoints, "read"),
    Operation(
        "GetPingServiceEndpointsDeprecated", read_place, run_endpoints, write_v1_endpoints, "read"
    ),
)

# Older clients add a path, newer ones do not.
ECHO = Echo()
WEBSOCKETS = MappingProxyType({"/": ECHO, "/ws": ECHO})
