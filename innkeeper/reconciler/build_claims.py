"""Which builds are at work, and whose turn it is, across all servers that share a directory.

Locks on files, which the kernel drops with whoever holds them: a killed server's build is nobody's at once.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from innkeeper.disk.locks import is_at, try_lock

_SUFFIX = ".claim"
_LOOK_S = 0.2


class BuildClaims:
    """The claims of one server. ``directory`` is shared with the others."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, int] = {}  # build key -> the descriptor that holds its lock

    def take(self, build_key: str) -> None:
        """Say that the build is at work here."""
        path = self._path(build_key)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            # Somebody who looks whether it is held, holds it for a moment; and may have removed it by then.
            fcntl.flock(handle, fcntl.LOCK_SH)
            if is_at(handle, path):
                break
            os.close(handle)
        self._held[build_key] = handle

    def drop(self, build_key: str) -> None:
        """It is at work no more."""
        handle = self._held.pop(build_key, None)
        if handle is not None:
            self._path(build_key).unlink(missing_ok=True)
            os.close(handle)

    def of_others(self) -> set[str]:
        """The builds that are at work on other servers. What a dead one left is removed."""
        found = set()
        for path in self._directory.glob(f"*{_SUFFIX}"):
            build_key = path.name.removesuffix(_SUFFIX)
            if build_key not in self._held and self._is_held(path):
                found.add(build_key)
        return found

    @asynccontextmanager
    async def turn(self, waits: Callable[[], None]) -> AsyncIterator[None]:
        """Be the only one that builds here; ``waits`` is called once where another does."""
        handle = os.open(self._directory / "turn.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            told = False
            while not try_lock(handle):
                if not told:
                    waits()
                    told = True
                await asyncio.sleep(_LOOK_S)
            yield
        finally:
            os.close(handle)

    def _is_held(self, path: Path) -> bool:
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            if not try_lock(handle):
                return True
            with suppress(FileNotFoundError):
                path.unlink()
            return False
        finally:
            os.close(handle)

    def _path(self, build_key: str) -> Path:
        return self._directory / f"{build_key}{_SUFFIX}"
