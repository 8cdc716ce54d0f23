"""The files of process logs: a runtime's, which may grow and lose their oldest part, and our own
kept ones.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from innkeeper.disk.durable import sync
from innkeeper.interfaces import LogSource
from innkeeper.telemetry.log_formats import DROPPED, LINE_BYTES_MAX, Decoder, decoder

BLOCK_BYTES = 256 * 1024
_LEVEL = 3


class SourceFile:
    """A runtime's log file from its first byte that is still there, within ``cap_bytes`` of its
    end.
    """

    def __init__(self, source: LogSource, cap_bytes: int) -> None:
        """Raises ``FileNotFoundError``."""
        self.path = source.path
        self.format = source.format
        self._file = source.path.open("rb", buffering=0)
        self.end = os.fstat(self._file.fileno()).st_size  # as it was opened; it may grow
        first = max(_first_data(self._file), self.end - cap_bytes)
        self.dropped = first > 0
        self.start = self._next_line(first) if first > 0 else 0
        self.position = self.start

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, end: int | None = None) -> bytes:
        """The next block, not beyond ``end``; empty there, or at the end for now."""
        size = BLOCK_BYTES if end is None else min(BLOCK_BYTES, max(0, end - self.position))
        data = os.pread(self._file.fileno(), size, self.position)
        self.position += len(data)
        return data

    def replaced(self) -> bool:
        """Whether the runtime began anew: the file was emptied, or another has taken its name."""
        here = os.fstat(self._file.fileno())
        if here.st_size < self.position:
            return True
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False  # removed: what is open can still be read to its end
        return (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev)

    def _next_line(self, position: int) -> int:
        """The first byte after the next newline, so that no half line is shown after what was
        dropped.
        """
        searched = 0
        while searched <= LINE_BYTES_MAX:
            data = os.pread(self._file.fileno(), BLOCK_BYTES, position + searched)
            found = data.find(b"\n")
            if found >= 0:
                return position + searched + found + 1
            if not data:
                break
            searched += len(data)
        return position

    def seek_back(self, newlines: int) -> None:
        """Go to where the last ``newlines`` lines of the file begin, or to its first byte."""
        position, wanted = self.end, newlines
        while position > self.start:
            size = min(BLOCK_BYTES, position - self.start)
            position -= size
            data = os.pread(self._file.fileno(), size, position)
            if position + size == self.end and data.endswith(b"\n"):
                data = data[:-1]
            count = data.count(b"\n")
            if count >= wanted:
                at = len(data)
                for _ in range(wanted):
                    at = data.rindex(b"\n", 0, at)
                self.position = position + at + 1
                return
            wanted -= count
        self.position = self.start


def _first_data(file: BinaryIO) -> int:
    """Where the hole at the head ends, which the bounding of the log's size leaves."""
    try:
        return os.lseek(file.fileno(), 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # empty, or nothing but a hole
            return os.fstat(file.fileno()).st_size
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return 0
        raise


def source_lines(file: SourceFile) -> Iterator[list[bytes]]:
    """Lists of whole lines, from the first to what is the end now, an unended one too; the marker
    first.
    """
    if file.dropped:
        yield [DROPPED]
    lines = decoder(file.format, midway=file.dropped)
    while data := file.read(file.end):
        yield lines.feed(data)
    yield lines.finish()


def source_tail(file: SourceFile, count: int) -> tuple[list[bytes], Decoder]:
    """The last ``count`` lines that are whole, and the decoder with what is under way; the file
    stands at what was its end.

    A record is part of one line, but a line may be several records: then it goes back further.
    """
    newlines = count
    while True:
        file.seek_back(newlines)
        at_head = file.position == file.start
        found: list[bytes] = [DROPPED] if at_head and file.dropped else []
        lines = decoder(file.format, midway=file.dropped or not at_head)
        while data := file.read(file.end):
            found = (found + lines.feed(data))[-count:]
        if at_head or len(found) >= count:
            return found, lines
        newlines *= 4


def write_kept(source: SourceFile | None, target: Path, at: float) -> None:
    """Keep the decoded log in ``target``, whole or not at all; without a source an empty one.

    ``at``: its time on disk, by which its retention is counted.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    with temporary.open("wb") as file:
        with zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False) as writer:
            for lines in source_lines(source) if source is not None else ():
                writer.write(b"".join(lines))
        file.flush()
        os.fsync(file.fileno())
    os.utime(temporary, (at, at))
    temporary.rename(target)
    sync(target.parent)


def kept_lines(path: Path) -> Iterator[list[bytes]]:
    """Lists of whole lines of a kept log. Raises ``FileNotFoundError``."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        rest = b""
        while data := reader.read(BLOCK_BYTES):
            *whole, rest = (rest + data).split(b"\n")
            if whole:
                yield [line + b"\n" for line in whole]


def kept_tail(path: Path, count: int) -> list[bytes]:
    """The last ``count`` lines of a kept log."""
    found: list[bytes] = []
    for lines in kept_lines(path):
        found = (found + lines)[-count:] if len(lines) < count else lines[-count:]
    return found
