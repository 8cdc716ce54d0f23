"""The logs of processes: read from the runtime while it holds them, and from our own files
afterwards (behaviour.md 8.3).

The size of what a runtime holds is bounded by the runtime itself, so that the bound holds while we
are down: the process runtime's zygote gives back the oldest part of a file, engines are told a
``max-size``.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from innkeeper.interfaces import Clock, LogSource
from innkeeper.telemetry import log_files
from innkeeper.telemetry.log_files import SourceFile
from innkeeper.telemetry.log_formats import DROPPED, Decoder, decoder

CAP_BYTES = 100 * 1024 * 1024
_SUFFIX = ".log.zst"
# Between two looks at a log that is followed: quick while it grows.
_LOOK_MIN_S, _LOOK_MAX_S = 0.05, 0.5
Resolve = Callable[[str], Awaitable[LogSource | None]]
Sleep = Callable[[float], Awaitable[None]]


def _now() -> datetime:
    return datetime.now(UTC)


class ProcessLogs:
    """:class:`innkeeper.interfaces.Logs`. ``directory`` holds the kept logs; ``resolve`` is the
    runtime's ``log_source``. ``cap_bytes`` bounds what is read and kept of one process."""

    def __init__(
        self,
        directory: Path,
        resolve: Resolve,
        *,
        cap_bytes: int = CAP_BYTES,
        retention_hours: int = 72,
        clock: Clock = _now,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._resolve = resolve
        self._cap_bytes = cap_bytes
        self._retention = timedelta(hours=retention_hours)
        self._clock = clock
        self._sleep = sleep
        # Readers that follow: how many, and whether the log was kept meanwhile, which tells them
        # the end.
        self._followers: dict[str, int] = {}
        self._ended: set[str] = set()

    def _kept(self, process_id: str) -> Path:
        assert "/" not in process_id, process_id
        return self._directory / f"{process_id}{_SUFFIX}"

    # ------------------------------------------------------------ reading

    async def stream(
        self, process_id: str, tail_lines: int | None, follow: bool
    ) -> AsyncIterator[bytes]:
        """Pieces of whole lines, in order: the last ``tail_lines``, or all; with ``follow``, on
        until the log was kept. What was never there is empty."""
        # What is kept is complete; what the runtime still holds then is on its way out.
        kept = self._kept(process_id)
        if await asyncio.to_thread(kept.exists):
            async for piece in _pieces(_kept(kept, tail_lines)):
                yield piece
            return
        if follow:
            async for piece in self._follow(process_id, tail_lines):
                yield piece
            return
        source = await self._resolve(process_id)
        file = None if source is None else await _open(source, self._cap_bytes)
        if file is not None:
            try:
                async for piece in _pieces(_source(file, tail_lines)):
                    yield piece
            finally:
                file.close()

    async def _follow(self, process_id: str, tail_lines: int | None) -> AsyncIterator[bytes]:
        self._followers[process_id] = self._followers.get(process_id, 0) + 1
        try:
            file = await self._appearing(process_id)
            if file is None:
                # It ended while we looked for it. What was kept of it, if anything, is whole.
                kept = self._kept(process_id)
                if await asyncio.to_thread(kept.exists):
                    async for piece in _pieces(_kept(kept, tail_lines)):
                        yield piece
                return
            follower = _Follower(file, self._cap_bytes)
            try:
                if piece := await asyncio.to_thread(follower.first, tail_lines):
                    yield piece
                wait_s = _LOOK_MIN_S
                while True:
                    # In this order: what was written before the end is read after it was told.
                    ended = await self._is_over(process_id)
                    piece = await asyncio.to_thread(follower.more)
                    if piece:
                        yield piece
                    elif ended:
                        break
                    wait_s = _LOOK_MIN_S if piece else min(wait_s * 2, _LOOK_MAX_S)
                    if not piece:
                        await self._sleep(wait_s)
                if piece := follower.rest():
                    yield piece
            finally:
                follower.close()
        finally:
            self._followers[process_id] -= 1
            if not self._followers[process_id]:
                del self._followers[process_id]
                self._ended.discard(process_id)

    async def _is_over(self, process_id: str) -> bool:
        """Whether its log was kept: by us, or by another server that reconciles."""
        return process_id in self._ended or await asyncio.to_thread(self._kept(process_id).exists)

    async def _appearing(self, process_id: str) -> SourceFile | None:
        """The runtime's log, once there is one; ``None`` where the process ended without."""
        wait_s = _LOOK_MIN_S
        while True:
            ended = await self._is_over(process_id)
            source = await self._resolve(process_id)
            file = None if source is None else await _open(source, self._cap_bytes)
            if file is not None or ended:
                return file
            wait_s = min(wait_s * 2, _LOOK_MAX_S)
            await self._sleep(wait_s)

    # ------------------------------------------------------------ keeping

    async def keep(self, process_id: str, source: LogSource | None) -> None:
        """Copy what the runtime holds into a file of our own, decoded; tells those who follow that
        it is over.

        Safe to repeat: without a source, what was kept before stays.
        """
        file = None if source is None else await _open(source, self._cap_bytes)
        try:
            kept = self._kept(process_id)
            if file is not None or not await asyncio.to_thread(kept.exists):
                at = self._clock().timestamp()
                await asyncio.to_thread(log_files.write_kept, file, kept, at)
        finally:
            if file is not None:
                file.close()
        if process_id in self._followers:
            self._ended.add(process_id)

    def followed(self, process_id: str) -> bool:
        """Whether somebody follows its log."""
        return process_id in self._followers

    async def kept_ids(self) -> list[str]:
        """The processes whose logs are kept."""
        return await asyncio.to_thread(self._kept_ids)

    def _kept_ids(self) -> list[str]:
        names = os.listdir(self._directory)
        return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]

    async def prune(self, keep_after: Mapping[str, datetime] | None = None) -> None:
        """Remove logs that were kept before ``keep_after`` of their process, or else before the
        retention that this installation has."""
        usual = self._clock() - self._retention
        await asyncio.to_thread(self._prune, usual, keep_after or {})

    def _prune(self, usual: datetime, keep_after: Mapping[str, datetime]) -> None:
        for process_id in self._kept_ids():
            path = self._kept(process_id)
            moment = keep_after.get(process_id, usual)
            if path.stat().st_mtime < moment.timestamp():
                path.unlink(missing_ok=True)


class _Follower:
    """Reads on in a log that grows, over a file that is emptied or replaced. Its methods block
    briefly.
    """

    def __init__(self, file: SourceFile, cap_bytes: int) -> None:
        self._file = file
        self._cap_bytes = cap_bytes
        self._decoder: Decoder = decoder(file.format)

    def close(self) -> None:
        self._file.close()

    def first(self, tail_lines: int | None) -> bytes:
        """The last lines that are whole; or, where all are wanted, the marker if some were dropped."""
        if tail_lines is None:
            return DROPPED if self._file.dropped else b""
        lines, self._decoder = log_files.source_tail(self._file, tail_lines)
        return b"".join(lines)

    def more(self) -> bytes:
        """What came since: whole lines, as many as one block holds; empty where there are none."""
        while data := self._file.read():
            if lines := self._decoder.feed(data):
                return b"".join(lines)
        if self._file.replaced():
            return self._again()
        return b""

    def _again(self) -> bytes:
        rest = b"".join(self._decoder.finish())
        path, format_ = self._file.path, self._file.format
        try:
            file = SourceFile(LogSource(path, format_), self._cap_bytes)
        except FileNotFoundError:
            return rest
        self._file.close()
        self._file, self._decoder = file, decoder(format_)
        return rest

    def rest(self) -> bytes:
        """At the end: a last line without its newline."""
        return b"".join(self._decoder.finish())


async def _open(source: LogSource, cap_bytes: int) -> SourceFile | None:
    try:
        return await asyncio.to_thread(SourceFile, source, cap_bytes)
    except FileNotFoundError:
        return None


def _kept(path: Path, tail_lines: int | None) -> Iterator[list[bytes]]:
    if tail_lines is None:
        yield from log_files.kept_lines(path)
    else:
        yield log_files.kept_tail(path, tail_lines)


def _source(file: SourceFile, tail_lines: int | None) -> Iterator[list[bytes]]:
    if tail_lines is None:
        yield from log_files.source_lines(file)
    else:
        lines, rest = log_files.source_tail(file, tail_lines)
        yield (lines + rest.finish())[-tail_lines:]


async def _pieces(lists: Iterator[list[bytes]]) -> AsyncIterator[bytes]:
    """Read in a thread, a block at a time, so that other requests go on."""
    while (lines := await asyncio.to_thread(next, lists, None)) is not None:
        if lines:
            yield b"".join(lines)
