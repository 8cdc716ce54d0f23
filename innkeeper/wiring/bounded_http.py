"""Uvicorn's HTTP with bounds that it lacks: on connections, on the bytes of a request's head, and on the
time that one takes. Anybody may connect, and each connection costs a descriptor that the games need too.
"""

import asyncio
import resource
from typing import Any

from innkeeper.wiring.whole_writes import WholeWritesProtocol

HEAD_S = 30.0
HEAD_BYTES_MAX = 128 * 1024
_DESCRIPTORS_MAX = 1 << 20


def raise_descriptor_limit() -> None:
    """As many descriptors as we may have: the usual limit of 1024 is for programs of another time."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = _DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connections_max() -> int:
    """A quarter of our descriptors is for ourselves: files, the engine, the games' socket tables."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 3 // 4


class BoundedHttpProtocol(WholeWritesProtocol):
    """One connection. A request's head must come within ``HEAD_S``, the first one counted from the start."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > connections_max():
            self.transport.close()
            return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a head that is not whole by then is on the clock, and counted."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The head of the request is too large.")
                return
        super().data_received(data)
        if not self._in_head:
            self._stop_waiting()
        elif self._patience is None:
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It is whole."""
        self._in_head = False
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        self._patience = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
