"""Whose upload a file is, among servers that share the directory: locks that end with their holder."""

import asyncio
import fcntl
import io
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from innkeeper.disk.locks import is_at, try_lock

_LOOK_S = 0.05


@contextmanager
def incoming(path: Path) -> Iterator[io.FileIO]:
    """A new file that is being written, until it has got its name: :func:`remove_unless_written` leaves it
    alone. Its directory is made where it is missing.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    while True:
        file = io.FileIO(path, "xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if is_at(file.fileno(), path):
            break
        file.close()  # a sweep came in between, and removed it
    with file:
        yield file


def remove_unless_written(path: Path) -> None:
    """Remove what a crash left half-written."""
    with suppress(FileNotFoundError), open(path, "rb") as file:
        if try_lock(file.fileno()):
            path.unlink(missing_ok=True)


@asynccontextmanager
async def held(directory: Path) -> AsyncIterator[None]:
    """Be the only one that changes what is finished in ``directory``; nothing where it does not exist."""
    handle = None
    while handle is None:
        try:
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            break
        while not try_lock(handle):  # noqa: ASYNC110 (another process holds it)
            await asyncio.sleep(_LOOK_S)
        if not is_at(handle, directory):  # it was removed while we waited
            os.close(handle)
            handle = None
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
