"""Uploaded archives are hostile: they are checked whole before any builder or engine sees them.

``check_archive`` reads the gzip (or plain) tar as a stream, trusts no header, and refuses what
could write outside the root, make devices, or fill the disk (behaviour.md 2.6). ``entries`` walks
the same way for those who unpack.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from innkeeper.core.errors import BuildFailed
from innkeeper.runtime.archive_stream import ArchiveStream, Damaged
from innkeeper.runtime.archive_tree import Tree

_NAME_BYTES_MAX = 4096
_PART_BYTES_MAX = 255
_PARTS_MAX = 128
# Harmless readers differ in what they make of these in a header for all entries.
_GLOBAL_REFUSED = frozenset({"path", "linkpath", "size", "hdrcharset"})


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """``ratio_max``: unpacked to packed bytes, once more than ``ratio_free_bytes`` are unpacked."""

    entries_max: int = 200_000
    bytes_max: int = 20 * 1024**3
    ratio_max: int = 200
    ratio_free_bytes: int = 512 * 1024**2


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """What was found. ``top`` is the single top directory that holds the Dockerfile, or ``""``."""

    entries: int
    unpacked_bytes: int
    top: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One checked entry. ``parts`` is its path below the archive's root; ``target`` a link's, as
    written.
    """

    kind: str  # "file" | "dir" | "symlink" | "hardlink"
    parts: tuple[str, ...]
    target: str
    size: int
    mode: int
    member: tarfile.TarInfo


def check_archive(path: Path, limits: ArchiveLimits) -> ArchiveFacts:
    """Read all of it. Raises :class:`BuildFailed` naming the entry and the reason; writes nothing.
    Blocks.
    """
    tree = Tree(limits.entries_max * 2)
    count = 0
    with ArchiveReader(path, limits) as reader:
        for entry in reader.entries():
            count += 1
            problem = tree.add(entry.kind, entry.parts, entry.target)
            if problem:
                raise refused("/".join(entry.parts), problem)
        unpacked = reader.unpacked_bytes
    top = _top(tree)
    for parts, problem in tree.leaving((top,) if top else ()):
        raise refused("/".join(parts), problem)
    warnings = (
        f"warning: the Dockerfile is in the top directory {top}/, which is taken as the root",
    )
    return ArchiveFacts(count, unpacked, top, warnings if top else ())


def normalise(path: Path, facts: ArchiveFacts, limits: ArchiveLimits, target: Path) -> None:
    """Write a plain tar of what is below ``facts.top``, so that the Dockerfile is at its root.
    Blocks.

    Owners become root, and set-user bits go. ``target`` does not exist if this raises.
    """
    try:
        with ArchiveReader(path, limits) as reader, tarfile.open(target, "x:") as out:
            for entry in reader.entries():
                parts = below(entry.parts, facts.top)
                if not parts:
                    continue
                info = tarfile.TarInfo("/".join(parts))
                info.type, info.mode, info.mtime = entry.member.type, entry.mode, entry.member.mtime
                info.linkname = entry.target
                if entry.kind == "hardlink":
                    info.linkname = "/".join(below(split(entry.target), facts.top))
                if entry.kind == "file":
                    info.type, info.size = tarfile.REGTYPE, entry.size
                    out.addfile(info, cast("IO[bytes]", reader.content(entry)))
                else:
                    out.addfile(info)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def below(parts: tuple[str, ...], top: str) -> tuple[str, ...]:
    """``parts`` seen from ``top``; empty for the top itself and for what is not below it."""
    if not top:
        return parts
    return parts[1:] if parts[:1] == (top,) else ()


def refused(name: str, why: str) -> BuildFailed:
    """The error for one entry; its name comes from outside, so it is quoted and cut."""
    shown = (
        name.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n").replace("\0", "\\0")
    )
    if len(shown) > 200:
        shown = shown[:200] + "…"
    return BuildFailed(f'the archive was refused: entry "{shown}" {why}')


def split(name: str) -> tuple[str, ...]:
    """The parts of a path, without empty ones and ``.``."""
    return tuple(part for part in name.split("/") if part not in ("", "."))


class ArchiveReader:
    """Walks an archive once, from front to back, within ``limits``."""

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._stream = ArchiveStream(
            path, limits.bytes_max, limits.ratio_max, limits.ratio_free_bytes
        )

    def __enter__(self) -> "ArchiveReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    @property
    def unpacked_bytes(self) -> int:
        """How many bytes were unpacked so far."""
        return self._stream.tell()

    def entries(self) -> Iterator[Entry]:
        """Each entry but the root itself. Raises :class:`BuildFailed` at the first that is refused."""
        count = 0
        try:
            with tarfile.open(fileobj=self._stream, mode="r:") as tar:  # type: ignore[call-overload]
                while (member := self._next(tar)) is not None:
                    if not _GLOBAL_REFUSED.isdisjoint(tar.pax_headers):
                        raise BuildFailed("the archive was refused: it renames all its entries")
                    count += 1
                    if count > self._limits.entries_max:
                        raise BuildFailed(
                            f"the archive was refused: more than {self._limits.entries_max} entries"
                        )
                    entry = _entry(member)
                    if entry is not None:
                        yield entry
                    tar.members.clear()  # it remembers every entry otherwise
            self._stream.finish()
        except Damaged as error:
            raise BuildFailed(f"the archive was refused: {error}") from error
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            raise BuildFailed(
                f"the archive was refused: not a gzip tar archive ({error})"
            ) from error

    def _next(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        self._stream.expect_header()
        return tar.next()

    def content(self, entry: Entry) -> "Content":
        """The content of the file at hand: to be read before the next entry is asked for."""
        self._stream.expect_data()
        return Content(self._stream, entry)


class Content:
    """A file's bytes, as they are unpacked. Raises :class:`BuildFailed` where the archive is
    damaged.
    """

    def __init__(self, stream: ArchiveStream, entry: Entry) -> None:
        self._stream = stream
        self._left = entry.size
        self._at = entry.member.offset_data

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; empty at the end."""
        wanted = min(size, self._left)
        try:
            self._stream.seek(self._at)
            data = self._stream.read(wanted)
            if len(data) != wanted:
                raise Damaged("it is cut short")
        except Damaged as error:
            raise BuildFailed(f"the archive was refused: {error}") from error
        self._at += wanted
        self._left -= wanted
        return data


def _entry(member: tarfile.TarInfo) -> Entry | None:
    name = member.name
    if "\0" in name or "\0" in member.linkname:
        raise refused(name, "has a NUL character in its name")
    if name.startswith("/"):
        raise refused(name, "has an absolute path")
    parts = split(name)
    if ".." in parts:
        raise refused(name, 'has ".." in its path')
    if len(name.encode("utf-8", "surrogateescape")) > _NAME_BYTES_MAX or any(
        len(part.encode("utf-8", "surrogateescape")) > _PART_BYTES_MAX for part in parts
    ):
        raise refused(name, "has a name that is too long")
    if len(parts) > _PARTS_MAX:
        raise refused(name, f"is more than {_PARTS_MAX} directories deep")
    kind = _kind(member)
    if kind != "file" and member.size:
        raise refused(name, "is not a file and yet has content")
    if not parts:
        if kind != "dir":
            raise refused(name, "would replace the root")
        return None
    return Entry(kind, parts, member.linkname, member.size, member.mode & 0o777, member)


def _kind(member: tarfile.TarInfo) -> str:
    if member.issparse() or any(key.startswith("GNU.sparse") for key in member.pax_headers):
        raise refused(member.name, "is a sparse file")
    if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
        if member.size < 0:
            raise refused(member.name, "has a negative size")
        if member.name.endswith("/"):
            raise refused(member.name, "is a file with a directory's name")
        return "file"
    known = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink"}
    if member.type in known:
        return known[member.type]
    if member.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        raise refused(member.name, "is a device node")
    if member.type == tarfile.FIFOTYPE:
        raise refused(member.name, "is a named pipe")
    raise refused(member.name, f"is of an unknown kind ({member.type!r})")


def _top(tree: Tree) -> str:
    if tree.kind(("Dockerfile",)) == "file":
        return ""
    tops = [name for name in tree.names() if not name.startswith("._") and name != "__MACOSX"]
    if len(tops) == 1 and tree.kind((tops[0], "Dockerfile")) == "file":
        return tops[0]
    raise BuildFailed("the archive holds no Dockerfile at its root")
