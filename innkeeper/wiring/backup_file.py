"""The form of a backup: a plain tar of regular files with known names, for ``tar`` and ``sha256sum`` too.

``innkeeper.json`` is first and says what it is, ``SHA256SUMS`` last: a file without it was cut short. Nothing
is compressed, so that nothing in it can be larger than the file itself. What is read is not trusted.
"""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from innkeeper.core.errors import StateConflict

FORMAT = 1
ABOUT = "innkeeper.json"
DATABASE = "database"
TOKEN = "admin-token"  # noqa: S105
IMAGES = "images.tar"
SUMS = "SHA256SUMS"
_KEY = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Members that are many: builds of host processes, logs of builds, kept logs of processes.
BUILD = re.compile(rf"builds/({_KEY})\.tar", re.ASCII)
BUILD_LOG = re.compile(rf"build-logs/({_KEY}\.log)", re.ASCII)
LOG = re.compile(r"logs/([A-Za-z0-9-]{1,60}\.log\.zst)", re.ASCII)
_FEW = frozenset((ABOUT, DATABASE, TOKEN, IMAGES, SUMS))
_MANY = (BUILD, BUILD_LOG, LOG)
_MEMBERS_MAX = 1_000_000
_ABOUT_BYTES_MAX = 64 * 1024
_SUMS_BYTES_MAX = 256 * 1024**2
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.DIRTYPE: "a directory",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
_BLOCK, _PIECE = 512, 1024**2
Share = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True, slots=True)
class About:
    """What a backup says of itself. ``taken_at``: ISO 8601, UTC; ``store``: ``sqlite`` or ``postgresql``."""

    format: int
    innkeeper: str
    schema_revision: str
    store: str
    installation_id: str
    runtime: str
    taken_at: str


class Sink:
    """Where a member's content goes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, content: bytes) -> int:
        """Append to the member."""
        self._file.write(content)
        self.sha256.update(content)
        self.size += len(content)
        return len(content)


@dataclass(slots=True)
class BackupWriter:
    """Writes members one after the other. The file can go back: a size is known after its content."""

    file: BinaryIO
    _sums: list[str] = field(default_factory=list)

    def about(self, about: About) -> None:
        """The first member."""
        self.text(ABOUT, json.dumps(asdict(about), indent=2) + "\n")

    @contextmanager
    def member(self, name: str) -> Iterator[Sink]:
        """A member of a size that is not known yet."""
        start = self.file.tell()
        self.file.write(_header(name, 0))
        sink = Sink(self.file)
        yield sink
        self.file.write(b"\0" * (-sink.size % _BLOCK))
        end = self.file.tell()
        self.file.seek(start)
        self.file.write(_header(name, sink.size))
        self.file.seek(end)
        self._sums.append(f"{sink.sha256.hexdigest()}  {name}\n")

    def text(self, name: str, content: str) -> None:
        """A small member."""
        with self.member(name) as sink:
            sink.write(content.encode())

    def copy(self, name: str, path: Path, share: Share | None = None) -> None:
        """A member from a file. Raises ``FileNotFoundError`` before anything of it is written."""
        with path.open("rb") as source, self.member(name) as sink:
            total = os.fstat(source.fileno()).st_size
            while piece := source.read(_PIECE):
                sink.write(piece)
                if share is not None:
                    share(sink.size, total)

    def finish(self) -> None:
        """Write the checksums and the end; sync."""
        self.text(SUMS, "".join(self._sums))
        self.file.write(b"\0" * (2 * _BLOCK))
        self.file.flush()
        os.fsync(self.file.fileno())


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    header = info.tobuf(tarfile.GNU_FORMAT)
    assert len(header) == _BLOCK, name
    return header


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member's content lies in the file, and the SHA-256 that the list gives it."""

    offset: int
    size: int
    sha256: str


class BackupReader:
    """A backup whose every byte was checked. Stays open, so that what was checked is what is taken."""

    def __init__(self, path: Path, share: Share | None = None) -> None:
        """Read all of it. Raises :class:`StateConflict` naming what is wrong. Blocks."""
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise StateConflict(f"{path} cannot be read: {error.strerror}") from error
        try:
            self.about, self.members = self._check(share)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "BackupReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def size(self) -> int:
        """The bytes of what it holds."""
        return sum(member.size for member in self.members.values())

    def matching(self, names: re.Pattern[str]) -> Iterator[tuple[str, str]]:
        """Each member whose name matches, with the part of it that the pattern names."""
        for name in self.members:
            if found := names.fullmatch(name):
                yield name, found[1]

    def extract(self, name: str, target: Path) -> None:
        """Write a member to a new file of mode 0600, synced; its bytes are checked once more."""
        member, sha256 = self.members[name], hashlib.sha256()
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            for piece in self._pieces(member.offset, member.size, name):
                sha256.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(handle)
        if sha256.hexdigest() != member.sha256:
            raise self._refused(f"{name} changed while it was read")

    def _check(self, share: Share | None) -> tuple[About, dict[str, Member]]:
        total = os.fstat(self._file.fileno()).st_size
        found: dict[str, Member] = {}
        about: About | None = None
        while (info := self._next()) is not None:
            if SUMS in found or len(found) > _MEMBERS_MAX:
                raise self._refused(f'there is more after its end: "{_shown(info.name)}"')
            offset, name = self._file.tell(), info.name
            self._check_member(info, found, total - offset)
            member = Member(offset, info.size, self._sum(name, offset, info.size, share, total))
            found[name] = member
            if about is None:
                about = self._about(member)
            self._file.seek(offset + info.size + -info.size % _BLOCK)
        if SUMS not in found or about is None:
            raise self._refused("it was cut short: its list of checksums is missing")
        self._check_sums(found)
        if DATABASE not in found:
            raise self._refused("it holds no database")
        return about, found

    def _next(self) -> tarfile.TarInfo | None:
        block = self._file.read(_BLOCK)
        if not block.strip(b"\0"):
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            raise self._refused(f"it is not a tar of ours, or is damaged ({error})") from error

    def _check_member(self, info: tarfile.TarInfo, found: dict[str, Member], left: int) -> None:
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            kind = _KINDS.get(info.type, f"of the kind {info.type!r}")
            raise self._refused(f'"{_shown(info.name)}" is {kind}, and backups hold plain files')
        known = info.name in _FEW or any(names.fullmatch(info.name) for names in _MANY)
        if not known or info.name in found:
            problem = "appears twice" if known else "does not belong in one"
            raise self._refused(f'"{_shown(info.name)}" {problem}')
        if not 0 <= info.size <= left:
            raise self._refused(f"it was cut short within {info.name}")
        if not found and info.name != ABOUT:
            raise self._refused(f"{ABOUT} is not its first file")

    def _about(self, member: Member) -> About:
        if member.size > _ABOUT_BYTES_MAX:
            raise self._refused(f"{ABOUT} is too large")
        content = b"".join(self._pieces(member.offset, member.size, ABOUT))
        try:
            told = json.loads(content)
            kind = told["format"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._refused(f"{ABOUT} does not say what it is") from None
        if kind != FORMAT:
            raise self._refused(
                f"it has form {kind!r}, and this version knows form {FORMAT}: use the version that made it"
            )
        try:
            about = About(**told)
        except TypeError:
            raise self._refused(f"{ABOUT} does not say what it should") from None
        texts = [about.innkeeper, about.schema_revision, about.store, about.installation_id]
        if not all(isinstance(text, str) for text in (*texts, about.runtime, about.taken_at)):
            raise self._refused(f"{ABOUT} does not say what it should")
        return about

    def _check_sums(self, found: dict[str, Member]) -> None:
        member = found.pop(SUMS)
        if member.size > _SUMS_BYTES_MAX:
            raise self._refused(f"{SUMS} is too large")
        listed = {}
        for line in b"".join(self._pieces(member.offset, member.size, SUMS)).splitlines():
            digest, _, name = line.decode("utf-8", "replace").partition("  ")
            listed[name] = digest
        if listed.keys() != found.keys():
            raise self._refused(f"{SUMS} lists other files than it holds")
        for name, one in found.items():
            if listed[name] != one.sha256:
                raise self._refused(f"{name} is damaged: its checksum differs")

    def _sum(self, name: str, offset: int, size: int, share: Share | None, total: int) -> str:
        sha256, at = hashlib.sha256(), offset
        for piece in self._pieces(offset, size, name):
            sha256.update(piece)
            at += len(piece)
            if share is not None:
                share(at, total)
        return sha256.hexdigest()

    def _pieces(self, offset: int, size: int, name: str) -> Iterator[bytes]:
        self._file.seek(offset)
        while size > 0:
            piece = self._file.read(min(size, _PIECE))
            if not piece:
                raise self._refused(f"it was cut short within {name}")
            size -= len(piece)
            yield piece

    def _refused(self, why: str) -> StateConflict:
        return StateConflict(f"{self.path} is no whole backup of Innkeeper: {why}")


def is_backup(path: Path) -> bool:
    """Whether a file begins as a backup does."""
    with path.open("rb") as file:
        return file.read(len(ABOUT) + 1) == ABOUT.encode() + b"\0"


def _shown(name: str) -> str:
    shown = name.encode("utf-8", "backslashreplace").decode().encode("unicode_escape").decode()
    return shown[:100]
