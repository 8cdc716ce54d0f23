"""The other servers on a PostgreSQL: hints by LISTEN and NOTIFY, presence by a lock that a session holds.

On connections of its own: no hint is part of a write, and none holds one up.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import AsyncConnection

from innkeeper.interfaces import LockKey

log = logging.getLogger(__name__)

CHANNEL = "innkeeper"
RETRY_S = 0.5
_FREED = "freed"
# The lock of a fence: kept apart from those of apps and regions by its text.
_LOCK = "hashtextextended('the holder with this fence', %s)"
_SESSION = {
    "application_name": "innkeeper neighbours",
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


class PostgresNeighbours:
    """See :class:`~innkeeper.interfaces.Neighbours`. A session that ends, however it does, is seen to."""

    def __init__(self, conninfo: str) -> None:
        """Call in the event loop; ``open`` before use."""
        self._conninfo = conninfo
        self._wake: Callable[[LockKey], None] = lambda key: None
        self._freed: Callable[[], None] = lambda: None
        self._to_send: dict[str, None] = {}
        self._sending: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._speaker: AsyncConnection[Any] | None = None
        self._shown: int | None = None  # the fence whose lock the speaker's session holds

    def open(self) -> None:
        """Begin to listen; where PostgreSQL is away, as soon as it is back."""
        self._listening = asyncio.create_task(self._listen())

    def listen(self, wake: Callable[[LockKey], None], freed: Callable[[], None]) -> None:
        """See :class:`~innkeeper.interfaces.Neighbours`."""
        self._wake, self._freed = wake, freed

    def wake(self, key: LockKey) -> None:
        """See :class:`~innkeeper.interfaces.Neighbours`. Many that come at once are sent together."""
        self._send(f"{key[0]} {key[1]}")

    def tell_freed(self) -> None:
        """See :class:`~innkeeper.interfaces.Neighbours`."""
        self._send(_FREED)

    async def show(self, fence: int) -> bool:
        """See :class:`~innkeeper.interfaces.Neighbours`."""
        try:
            async with self._turn:
                connection = await self._connected()
                if self._shown == fence:
                    await connection.execute("SELECT 1")  # raises where the session is gone
                    return True
                found = await _first(connection, f"SELECT pg_try_advisory_lock({_LOCK})", fence)
                if found:
                    self._shown = fence
                return found
        except (psycopg.Error, OSError) as error:
            self._lost(error)
            return False

    async def hide(self, fence: int) -> None:
        """See :class:`~innkeeper.interfaces.Neighbours`."""
        try:
            async with self._turn:
                if self._shown == fence and self._speaker is not None:
                    await self._speaker.execute(f"SELECT pg_advisory_unlock({_LOCK})", (fence,))
                    self._shown = None
        except (psycopg.Error, OSError) as error:
            self._lost(error)  # the lock is gone with the session

    async def gone(self, fence: int) -> bool:
        """See :class:`~innkeeper.interfaces.Neighbours`."""
        if self._shown == fence:
            return False
        # Shared: those who ask do not take each other for the holder.
        ask = (
            f"SELECT CASE WHEN pg_try_advisory_lock_shared({_LOCK})"
            f" THEN pg_advisory_unlock_shared({_LOCK}) ELSE false END"
        )
        try:
            async with self._turn:
                return await _first(await self._connected(), ask, fence, fence)
        except (psycopg.Error, OSError) as error:
            self._lost(error)
            return False

    async def close(self) -> None:
        """See :class:`~innkeeper.interfaces.Neighbours`."""
        with contextlib.suppress(TimeoutError):
            if self._sending is not None:
                async with asyncio.timeout(RETRY_S):
                    await self._sending
        for task in (self._sending, self._listening):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._speaker is not None:
            await self._speaker.close()

    # ------------------------------------------------------------ speaking

    def _send(self, payload: str) -> None:
        self._to_send[payload] = None
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._to_send:
            payloads, self._to_send = list(self._to_send), {}
            try:
                async with self._turn:
                    connection = await self._connected()
                    await connection.execute(
                        "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS told (payload)",
                        (CHANNEL, payloads),
                    )
            except (psycopg.Error, OSError) as error:
                self._lost(error)  # hints: a timer finds the same work
                return

    async def _connected(self) -> AsyncConnection[Any]:
        """The speaker's connection, made anew where the former is gone."""
        if self._speaker is None or self._speaker.closed:
            self._shown = None
            self._speaker = await _connect(self._conninfo)
        return self._speaker

    def _lost(self, error: Exception) -> None:
        log.info("neighbours cannot be reached: %s", str(error).strip().splitlines()[0])
        if self._speaker is not None and self._speaker.closed:
            self._speaker, self._shown = None, None

    # ------------------------------------------------------------ listening

    async def _listen(self) -> None:
        while True:
            try:
                async with await _connect(self._conninfo) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    async for told in connection.notifies():
                        self._heard(told.payload)
            except (psycopg.Error, OSError) as error:
                log.info("neighbours are not heard: %s", str(error).strip().splitlines()[0])
            await asyncio.sleep(RETRY_S)

    def _heard(self, payload: str) -> None:
        if payload == _FREED:
            self._freed()
            return
        app_id, _, region = payload.partition(" ")
        if app_id and region:
            self._wake((app_id, region))


async def _connect(conninfo: str) -> AsyncConnection[Any]:
    given: dict[str, Any] = {**_SESSION, **psycopg.conninfo.conninfo_to_dict(conninfo)}
    return await AsyncConnection.connect(**given, autocommit=True)


async def _first(connection: AsyncConnection[Any], statement: str, *values: int) -> bool:
    row = await (await connection.execute(statement, values)).fetchone()
    return bool(row and row[0])
