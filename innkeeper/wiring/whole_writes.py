"""Head and body of an answer in one write to the socket: uvicorn writes them apart, at the price of a
system call here and a wake-up at the client for each (a fifth of the cost of a small answer, measured).
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# More than this is handed on at once, so that the transport can ask for a pause.
HELD_BYTES_MAX = 64 * 1024


class WholeWrites:
    """A transport that holds what is written until the loop's next turn. All else is the inner one's."""

    __slots__ = ("_held", "_held_bytes", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        """Soon, and together with what is written until then."""
        if not self._held:
            self._loop.call_soon(self._hand_on)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES_MAX:
            self._hand_on()

    def close(self) -> None:
        """After what was written."""
        self._hand_on()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _hand_on(self) -> None:
        if self._held and not self._transport.is_closing():
            self._transport.write(b"".join(self._held))
        self._held.clear()
        self._held_bytes = 0


class WholeWritesProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP over a :class:`WholeWrites`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put our transport in between."""
        super().connection_made(cast(asyncio.Transport, WholeWrites(transport, self.loop)))
