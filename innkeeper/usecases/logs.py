"""What a caller may ask of the logs of processes (behaviour.md 8.3). The bytes come from ``Logs``."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from innkeeper.core.accounts import Caller
from innkeeper.core.errors import Gone, NotFound, StateConflict
from innkeeper.core.moments import from_ms
from innkeeper.interfaces import Context, Logs, Row, Tx
from innkeeper.usecases import apps, deployments

# How many processes the logs of a whole app or deployment show: the live ones, then the newest.
PROCESSES_MAX = 50
_PIECES_AHEAD = 64


@dataclass(frozen=True, slots=True)
class ReadableLog:
    """A log that may be read. ``growing``: the process's remains are still there, so more may come."""

    process_id: str
    growing: bool


def find_log(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> ReadableLog:
    """The log of one process; ``wanted`` is (app id, process id). Raises :class:`NotFound`,
    :class:`Gone`.
    """
    return _readable(_require(tx, caller, wanted), context)


def find_whole_log(
    tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context
) -> ReadableLog:
    """The same, of a process that has ended. Raises :class:`StateConflict` while it has not."""
    row = _require(tx, caller, wanted)
    if row["terminated_at"] is None:
        raise StateConflict(
            f'Process "{wanted[1]}" has not ended; only a whole log can be downloaded'
        )
    return _readable(row, context)


def find_logs(
    tx: Tx, caller: Caller, wanted: tuple[str, str | None], context: Context
) -> list[ReadableLog]:
    """The logs of an app, or of one of its deployments (an id, or a number as text).

    ``wanted`` is (app id, deployment). Raises :class:`NotFound`. Those past their retention are
    left out.
    """
    app = apps.require_app(tx, caller.org_id, wanted[0])
    deployment_id = None
    if wanted[1] is not None:
        deployment_id = deployments.require(tx, app.app_id, wanted[1]).deployment_id
    rows = tx.all("logs.of_app", app_id=app.app_id, deployment_id=deployment_id, most=PROCESSES_MAX)
    return [_found(row) for row in rows if not _expired(row, context)]


def retention_cuts(tx: Tx, process_ids: Iterable[str], now: datetime) -> dict[str, datetime]:
    """Before which moment the logs of these processes go, where their org has a retention of its
    own.
    """
    cuts = {}
    for process_id in process_ids:
        row = tx.one("logs.retention", process_id=process_id)
        if row is not None:
            cuts[process_id] = now - timedelta(hours=row["log_retention_hours"])
    return cuts


def _require(tx: Tx, caller: Caller, wanted: tuple[str, str]) -> Row:
    app_id, process_id = wanted
    app = apps.require_app(tx, caller.org_id, app_id)
    row = tx.one("logs.of_process", app_id=app.app_id, process_id=process_id)
    if row is None:
        raise NotFound("Process", process_id)
    return row


def _readable(row: Row, context: Context) -> ReadableLog:
    if _expired(row, context):
        raise Gone(f"Logs for process {row['process_id']} have expired")
    return _found(row)


def _found(row: Row) -> ReadableLog:
    return ReadableLog(row["process_id"], growing=not row["removed"])


def _expired(row: Row, context: Context) -> bool:
    if row["terminated_at"] is None:
        return False
    hours = row["log_retention_hours"]
    kept = timedelta(hours=context.policy.log_retention_hours if hours is None else hours)
    return from_ms(row["terminated_at"]) + kept < context.now


async def together(
    logs: Logs, found: Sequence[ReadableLog], tail_lines: int, follow: bool
) -> AsyncIterator[bytes]:
    """Several logs as one, each line after ``[processId] ``: one after the other, or all as they
    grow.
    """
    if not follow:
        for log in found:
            async for piece in logs.stream(log.process_id, tail_lines, False):
                yield _prefixed(log.process_id, piece)
        return
    streams = [logs.stream(log.process_id, tail_lines, log.growing) for log in found]
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
    room = asyncio.Semaphore(_PIECES_AHEAD)

    async def pump(process_id: str, stream: AsyncIterator[bytes]) -> None:
        async with aclosing(cast("AsyncGenerator[bytes, None]", stream)):
            async for piece in stream:
                await room.acquire()
                pieces.put_nowait(_prefixed(process_id, piece))

    pumps = [
        asyncio.create_task(pump(log.process_id, stream))
        for log, stream in zip(found, streams, strict=True)
    ]
    for task in pumps:
        task.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        left = len(pumps)
        while left:
            ready = await pieces.get()
            if ready is None:
                left -= 1
            else:
                room.release()
                yield ready
        for task in pumps:
            task.result()  # raises what stopped it
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


def _prefixed(process_id: str, piece: bytes) -> bytes:
    prefix = f"[{process_id}] ".encode()
    return b"".join(prefix + line for line in piece.splitlines(keepends=True))
