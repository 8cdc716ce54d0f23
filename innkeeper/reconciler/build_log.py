"""The log of one build: a bounded file that is written by threads and followed by readers."""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

log = logging.getLogger(__name__)

LOG_BYTES_MAX = 8 * 1024**2
# The official command line stops reading at a line of 64 KiB (behaviour.md 0.3).
LINE_BYTES_MAX = 16 * 1024
PIECE_BYTES = 64 * 1024
_CUT = b"[The log is longer than is kept; what follows is left out, up to its end]\n"


class BuildLog:
    """Lines of a build that runs. Make it in the event loop; ``line`` may be called in any thread."""

    def __init__(self, path: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
        """Starts anew where there is a file already."""
        self._path = path
        self._bytes_max = bytes_max
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self._size = 0
        self._unwritten = b""
        self._cut = False
        self._ended = False
        self._changed = asyncio.Event()

    def line(self, text: str) -> None:
        """Add a line; one that holds more lines becomes those, and a long one is folded."""
        with self._lock:
            if self._ended:
                return  # Said by a thread that had not heard yet; the file may be another's by now.
            for piece in _lines(text):
                if not self._cut and self._size + len(piece) > self._bytes_max:
                    self._write(_CUT)
                    self._cut = True
                if not self._cut:
                    self._write(piece)
        self._tell()

    def end(self, text: str) -> None:
        """Add the last line, however long the log is, and let the readers go."""
        with self._lock:
            for piece in _lines(text):
                self._write(piece)
            self._ended = True
            os.close(self._file)
        self._tell()

    async def follow(self) -> AsyncIterator[bytes]:
        """The log from its beginning, on until its end."""
        try:
            file = self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return  # The build was deleted before anybody read it.
        with file:
            while True:
                # Taken before the read: what is written after it wakes this very event.
                changed, ended = self._changed, self._ended
                if piece := file.read(PIECE_BYTES):
                    yield piece
                elif ended:
                    break
                else:
                    await changed.wait()
        if self._unwritten:
            yield self._unwritten

    def _write(self, piece: bytes) -> None:
        """Write it whole; on a full disk the readers still get the end of it."""
        try:
            while piece:
                written = os.write(self._file, piece)
                self._size += written
                piece = piece[written:]
        except OSError as fault:
            if not self._unwritten:
                log.warning("a build's log cannot be written: %s", fault)
            self._unwritten = (self._unwritten + piece)[-LINE_BYTES_MAX:]

    def _tell(self) -> None:
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        woken, self._changed = self._changed, asyncio.Event()
        woken.set()


async def read_log(path: Path) -> AsyncIterator[bytes]:
    """What is in a log now; nothing where there is none."""
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        return
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def append_line(path: Path, text: str) -> None:
    """Add a line to the log of a build that no longer runs."""
    with path.open("ab") as file:
        for piece in _lines(text):
            file.write(piece)


def _lines(text: str) -> Iterator[bytes]:
    for line in text.splitlines() or [""]:
        encoded = line.encode("utf-8", "replace")
        for start in range(0, max(len(encoded), 1), LINE_BYTES_MAX):
            yield encoded[start : start + LINE_BYTES_MAX] + b"\n"
