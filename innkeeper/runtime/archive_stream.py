"""The bytes of a tar archive, unpacked as they are read: bounded, forward only, checked to the last
byte.
"""

import zlib
from pathlib import Path

_READ = 64 * 1024
_UNPACK = 256 * 1024
_HEADER_BYTES_MAX = 64 * 1024  # of one entry: names and extended headers
_GZIP_MAGIC = b"\x1f\x8b"


class Damaged(Exception):
    """The archive is not what it says, or more than it may be. The message completes "the archive
    was refused: ".
    """


class ArchiveStream:
    """A forward-only file for ``tarfile``: ``read``, ``seek`` ahead and ``tell``, over gzip or
    plain bytes.

    Reading stops with :class:`Damaged` above ``bytes_max`` unpacked bytes, or above ``ratio_max``
    times the packed ones once ``ratio_free_bytes`` are out. While headers are expected, only a
    bounded number of bytes may be read.
    """

    def __init__(self, path: Path, bytes_max: int, ratio_max: int, ratio_free_bytes: int) -> None:
        self._file = path.open("rb")
        self._bytes_max = bytes_max
        self._ratio_max = ratio_max
        self._ratio_free_bytes = ratio_free_bytes
        head = self._file.read(2)
        self._file.seek(0)
        self._unpacker = _gzip() if head == _GZIP_MAGIC else None
        self._packed = b""
        self._taken = 0
        self._made = 0
        self._ready, self._ready_at = b"", 0
        self._position = 0
        self._header_left: int | None = _HEADER_BYTES_MAX

    def close(self) -> None:
        """Close the file beneath."""
        self._file.close()

    def expect_header(self) -> None:
        """What is read from now on belongs to the header of one entry."""
        self._header_left = _HEADER_BYTES_MAX

    def expect_data(self) -> None:
        """What is read from now on is content, and read in pieces."""
        self._header_left = None

    def tell(self) -> int:
        """The position in the unpacked bytes."""
        return self._position

    def seek(self, position: int, whence: int = 0) -> int:
        """Skip ahead to ``position``."""
        if whence != 0 or position < self._position:
            raise Damaged("an entry points backwards")
        while self._position < position:
            if not self._take(min(position - self._position, _UNPACK)):
                raise Damaged("it is cut short")
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Exactly ``size`` bytes, or fewer at the end."""
        if size < 0 or (self._header_left is not None and size > self._header_left):
            raise Damaged("an entry has a header that is too large")
        if self._header_left is not None:
            self._header_left -= size
        pieces = []
        while size > 0 and (piece := self._take(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """After the last entry: nothing but zeros may follow, and the checksums must be right."""
        while piece := self._take(_UNPACK):
            if piece.count(0) != len(piece):
                raise Damaged("it holds data after its end")

    def _take(self, size: int) -> bytes:
        if self._ready_at == len(self._ready):
            self._ready = self._plain() if self._unpacker is None else self._unpacked()
            self._ready_at = 0
            self._made += len(self._ready)
            self._check_bounds()
        piece = self._ready[self._ready_at : self._ready_at + size]
        self._ready_at += len(piece)
        self._position += len(piece)
        return piece

    def _check_bounds(self) -> None:
        if self._made > self._bytes_max:
            raise Damaged(f"it unpacks to more than {self._bytes_max} bytes")
        if self._made > self._ratio_free_bytes and self._made > self._ratio_max * self._taken:
            raise Damaged(f"it unpacks to more than {self._ratio_max} times its size")

    def _plain(self) -> bytes:
        data = self._file.read(_READ)
        self._taken += len(data)
        return data

    def _unpacked(self) -> bytes:
        assert self._unpacker is not None
        while True:
            if self._unpacker.eof and not self._next_member():
                return b""
            if not self._packed:
                self._packed = self._plain()
                if not self._packed and not self._unpacker.eof:
                    # The unpacker may hold back output that the last call had no room for.
                    data = self._decompress()
                    if data or self._unpacker.eof:
                        return data
                    raise Damaged("it is cut short")
            data = self._decompress()
            if data:
                return data

    def _decompress(self) -> bytes:
        assert self._unpacker is not None
        try:
            data = self._unpacker.decompress(self._packed, _UNPACK)
        except zlib.error as error:
            raise Damaged(f"its compression is damaged ({error})") from error
        self._packed = self._unpacker.unconsumed_tail
        return data

    def _next_member(self) -> bool:
        """A gzip file may be several, one after the other; anything else behind the first is
        refused.
        """
        assert self._unpacker is not None
        rest = self._unpacker.unused_data or self._packed
        while len(rest) < len(_GZIP_MAGIC) and (more := self._plain()):
            rest += more
        if not rest:
            return False
        if not rest.startswith(_GZIP_MAGIC):
            raise Damaged("it holds data after its end")
        self._unpacker, self._packed = _gzip(), rest
        return True


def _gzip() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=31)
