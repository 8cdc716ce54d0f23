"""Keeps uploaded archives on disk, part by part, until their build has run (behaviour.md 2.4).

What comes in is hostile: sizes are exact, time and disk space are bounded, names are ours.
"""

import asyncio
import contextlib
import errno
import hashlib
import hmac
import io
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from innkeeper.core.errors import Invalid, StateConflict, TimedOut, TooLarge, Unavailable
from innkeeper.disk.durable import sync
from innkeeper.interfaces import ReceivedArchive
from innkeeper.telemetry import upload_claims

T = TypeVar("T")

BLOCK_BYTES = 1024**2
PIECE_BLOCKS = 32
# Left free for the store and the logs, whatever is uploaded.
RESERVE_BYTES = 64 * 1024**2
# Clients send every part at once (behaviour.md 2.4); more than this many wait their turn.
PARTS_AT_ONCE = 256
# What is sent may take this long, and longer the more has come: 16 KiB/s is the slowest that is waited for.
PART_TIME_MIN_S = 600.0
BYTES_PER_S_MIN = 16 * 1024

_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_PART = re.compile(r"part-([0-9]{1,5})-([0-9a-f]{32})", re.ASCII)
_ARCHIVE = re.compile(r"archive-([0-9a-f]{64})\.tar\.gz", re.ASCII)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UploadsOnDisk:
    """See :class:`~innkeeper.interfaces.Uploads`. One directory below ``root`` for each build."""

    def __init__(self, root: Path, part_time_min_s: float = PART_TIME_MIN_S) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root
        self._part_time_min_s = part_time_min_s
        self._turns = asyncio.Semaphore(PARTS_AT_ONCE)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put_part(
        self, build_key: str, part_number: int, size: int, body: AsyncIterator[bytes]
    ) -> str:
        """See :class:`~innkeeper.interfaces.Uploads`."""
        directory = self._directory(build_key)
        self._check_open(build_key)
        temporary = directory / f"incoming-{part_number}-{secrets.token_hex(8)}"
        async with self._turns:
            self._check_room(size)
            try:
                with _full_disk_told(), upload_claims.incoming(temporary) as file:
                    more = Invalid("body", f"must have exactly {size} bytes, and has more")
                    md5 = hashlib.md5(usedforsecurity=False)
                    received = await self._receive(file, size, more, md5, body)
                    if received != size:
                        raise Invalid("body", f"must have exactly {size} bytes, not {received}")
                    digest = md5.hexdigest()
                    async with self._lock(build_key):
                        self._check_open(build_key)
                        _keep(temporary, directory, part_number, digest)
            except FileNotFoundError as gone:
                raise StateConflict("The upload was discarded meanwhile") from gone
            finally:
                temporary.unlink(missing_ok=True)
        return f'"{digest}"'

    async def put_archive(
        self, build_key: str, size_max: int, body: AsyncIterator[bytes]
    ) -> ReceivedArchive:
        """See :class:`~innkeeper.interfaces.Uploads`."""
        directory = self._directory(build_key)
        temporary = directory / f"incoming-whole-{secrets.token_hex(8)}"
        async with self._turns:
            try:
                with _full_disk_told(), upload_claims.incoming(temporary) as file:
                    more = TooLarge(f"The archive is larger than {size_max} bytes")
                    sha256 = hashlib.sha256()
                    size = await self._receive(file, size_max, more, sha256, body)
                    if not size:
                        raise Invalid("body.file", "is empty")
                    await self._keep_whole(build_key, temporary, sha256.hexdigest())
            except FileNotFoundError as gone:
                raise StateConflict("The upload was discarded meanwhile") from gone
            finally:
                temporary.unlink(missing_ok=True)
        return ReceivedArchive(size, sha256.hexdigest())

    async def assemble(self, build_key: str, parts: Sequence[tuple[int, str]], size: int) -> str:
        """See :class:`~innkeeper.interfaces.Uploads`."""
        # The thread that copies goes on when the caller leaves, so the lock has to stay with it.
        return await asyncio.shield(
            asyncio.create_task(self._assembled(build_key, list(parts), size))
        )

    def archive(self, build_key: str) -> Path | None:
        """See :class:`~innkeeper.interfaces.Uploads`."""
        directory = self._directory(build_key)
        for name in _names(directory):
            if _ARCHIVE.fullmatch(name):
                return directory / name
        return None

    async def discard(self, build_key: str) -> None:
        """See :class:`~innkeeper.interfaces.Uploads`."""
        directory = self._directory(build_key)
        async with self._lock(build_key):
            await asyncio.to_thread(_remove, directory)

    async def sweep(self, wanted: Collection[str]) -> None:
        """See :class:`~innkeeper.interfaces.Uploads`."""
        for name in _names(self._root):
            if not _KEY.fullmatch(name):
                continue  # Nothing of ours: not ours to remove.
            if name not in wanted:
                await self.discard(name)
                continue
            for inner in _names(self._root / name):
                if inner.startswith("incoming-"):
                    upload_claims.remove_unless_written(self._root / name / inner)

    async def _receive(
        self, file: io.FileIO, most: int, more: Exception, digest: Any, body: AsyncIterator[bytes]
    ) -> int:
        """Write the body to a new file and to ``digest``; returns its size, or raises ``more``."""
        received = 0
        begun = asyncio.get_running_loop().time() + self._part_time_min_s
        limit = asyncio.timeout_at(begun)
        try:
            async with limit:
                async for block in _blocks(body):
                    received += len(block)
                    if received > most:
                        raise more
                    self._check_room(len(block))
                    await _finished(asyncio.to_thread(_write, file, block, digest))
                    limit.reschedule(begun + received / BYTES_PER_S_MIN)
        except TimeoutError as late:
            if not limit.expired():
                raise
            raise TimedOut("The archive did not come in time") from late
        return received

    async def _keep_whole(self, build_key: str, temporary: Path, content_hash: str) -> None:
        """Make a received file the build's archive, for good."""
        directory = self._directory(build_key)
        kept = directory / f"archive-{content_hash}.tar.gz"
        await _finished(asyncio.to_thread(sync, temporary))
        async with self._lock(build_key):
            made = self.archive(build_key)
            # A build that waits for its turn has been told the name of its archive already.
            if made is not None and made != kept:
                raise StateConflict(
                    "The build has another archive already: run it without a file, or create a new build"
                )
            _name(temporary, kept)

    async def _assembled(self, build_key: str, parts: list[tuple[int, str]], size: int) -> str:
        directory = self._directory(build_key)
        async with self._lock(build_key):
            made = self.archive(build_key)
            if made is not None:
                return made.name.removeprefix("archive-").removesuffix(".tar.gz")
            paths = _chosen(directory, parts, size)
            self._check_room(size)
            with _full_disk_told():
                return await _concatenate(directory, paths)

    def _directory(self, build_key: str) -> Path:
        if not _KEY.fullmatch(build_key):
            raise Invalid("path.buildKey", "is not the key of a build")
        return self._root / build_key

    def _check_open(self, build_key: str) -> None:
        if self.archive(build_key) is not None:
            raise StateConflict("The upload is complete: no part of it can be replaced any more")

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self._root).free
        if free < size + RESERVE_BYTES:
            raise Unavailable(
                f"The disk is full: {size} bytes are needed beside a reserve of {RESERVE_BYTES}, and"
                f" {free} are free. Free some space, then try again",
                60,
            )

    @contextlib.asynccontextmanager
    async def _lock(self, build_key: str) -> AsyncIterator[None]:
        """One at a time for each build, on whichever server."""
        lock = self._locks.get(build_key)
        if lock is None:
            # Forgotten when nobody holds it or waits for it.
            lock = self._locks[build_key] = asyncio.Lock()
        async with lock, upload_claims.held(self._directory(build_key)):
            yield


async def _finished(work: Coroutine[Any, Any, T]) -> T:
    """Wait for a thread's work to its end, even when cancelled: its file must not be closed before."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _blocks(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces that are worth a thread's while."""
    block = bytearray()
    async for piece in body:
        block += piece
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _write(file: io.FileIO, block: bytes, digest: Any) -> None:
    left = memoryview(block)
    while left:
        left = left[file.write(left) :]
    digest.update(block)


def _keep(temporary: Path, directory: Path, part_number: int, digest: str) -> None:
    """Put the part in its place; an earlier one of this number goes."""
    kept = f"part-{part_number}-{digest}"
    temporary.replace(directory / kept)
    for name in _names(directory):
        match = _PART.fullmatch(name)
        if match and int(match[1]) == part_number and name != kept:
            (directory / name).unlink(missing_ok=True)


def _name(temporary: Path, kept: Path) -> None:
    """Give a file its name, for good."""
    temporary.replace(kept)
    sync(kept.parent)


def _chosen(directory: Path, parts: list[tuple[int, str]], size: int) -> list[Path]:
    """The files of the parts, in order, checked against what the client says it sent."""
    if [number for number, _ in parts] != list(range(1, len(parts) + 1)):
        raise Invalid("body.parts", "must name every part once, in ascending order from 1")
    kept: dict[int, str] = {}
    for name in _names(directory):
        if match := _PART.fullmatch(name):
            kept[int(match[1])] = match[2]
    paths = []
    for number, etag in parts:
        digest = kept.get(number)
        told = etag.strip().strip('"').lower().encode()
        if digest is None:
            raise Invalid(f"body.parts[{number}]", "was not uploaded")
        if not hmac.compare_digest(digest.encode(), told):
            raise Invalid(
                f"body.parts[{number}]", "has another ETag than the part that was uploaded"
            )
        paths.append(directory / f"part-{number}-{digest}")
    total = sum(path.stat().st_size for path in paths)
    if total != size:
        raise Invalid("body.parts", f"must have {size} bytes together, not {total}")
    return paths


async def _concatenate(directory: Path, paths: list[Path]) -> str:
    """One durable file of all parts, which then go; returns its SHA-256.

    In short turns of a thread, so that a server that shall stop need not wait for gigabytes.
    """
    digest = hashlib.sha256()
    temporary = directory / f"incoming-archive-{secrets.token_hex(8)}"
    try:
        with upload_claims.incoming(temporary) as file:
            for path in paths:
                with io.FileIO(path, "rb") as part:
                    while await _finished(asyncio.to_thread(_copy_some, part, file, digest)):
                        pass
            _name(temporary, directory / f"archive-{digest.hexdigest()}.tar.gz")
    finally:
        temporary.unlink(missing_ok=True)
    for name in _names(directory):
        if _PART.fullmatch(name):
            (directory / name).unlink(missing_ok=True)
    return digest.hexdigest()


def _copy_some(part: io.FileIO, file: io.FileIO, digest: Any) -> bool:
    """Append the next piece of a part, and make it durable; false at the part's end."""
    for _ in range(PIECE_BLOCKS):
        block = part.read(BLOCK_BYTES)
        if not block:
            os.fdatasync(file.fileno())
            return False
        _write(file, block, digest)
    os.fdatasync(file.fileno())
    return True


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _remove(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)


@contextlib.contextmanager
def _full_disk_told() -> Iterator[None]:
    """A full disk as an error that says so."""
    try:
        yield
    except OSError as fault:
        if fault.errno not in _FULL:
            raise
        raise Unavailable(
            "The disk is full where uploads are kept. Free some space, then try again", 60
        ) from fault
