"""One image of the process runtime as a plain tar, for backups, and back.

What comes back is checked like an upload.
"""

import os
import shutil
import stat
import tarfile
from pathlib import Path
from typing import IO, Protocol, cast

from innkeeper.core.errors import BuildFailed
from innkeeper.runtime.archive import ArchiveFacts, ArchiveLimits, ArchiveReader, refused
from innkeeper.runtime.archive_tree import Tree
from innkeeper.runtime.process_builder import furnish, unpack

_ABOUT, _ROOTFS = "image.json", "rootfs"


class Sink(Protocol):
    """What a tar can be written to."""

    def write(self, content: bytes, /) -> int:
        """Append."""
        ...


def is_whole(place: Path) -> bool:
    """Whether an image is there: its description is written last."""
    return (place / _ABOUT).is_file()


def pack(place: Path, sink: Sink) -> None:
    """Write the image at ``place``. Devices are left out: :func:`restore` makes them. Blocks."""
    file = cast("IO[bytes]", sink)
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, place / _ABOUT, _ABOUT)
        for directory, folders, names in os.walk(place / _ROOTFS):
            folders.sort()
            below = Path(directory).relative_to(place)
            _add(tar, Path(directory), str(below))
            links = [name for name in folders if os.path.islink(os.path.join(directory, name))]
            for name in sorted(names + links):
                _add(tar, Path(directory, name), str(below / name))


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    found = path.lstat()
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
    if stat.S_ISLNK(found.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
        tar.addfile(info)
    elif stat.S_ISDIR(found.st_mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif stat.S_ISREG(found.st_mode):
        info.size = found.st_size
        with path.open("rb") as file:
            tar.addfile(info, file)


def restore(archive: Path, place: Path) -> None:
    """Make ``place``, which must not exist, from what :func:`pack` wrote. Blocks.

    Raises ``BuildFailed`` for links that lead out, devices, and whatever an upload may not hold;
    then nothing is left behind.
    """
    limits = ArchiveLimits(bytes_max=archive.stat().st_size)
    tree = Tree(limits.entries_max * 2)
    with ArchiveReader(archive, limits) as reader:
        for entry in reader.entries():
            name = "/".join(entry.parts)
            if entry.parts != (_ABOUT,) and entry.parts[0] != _ROOTFS:
                raise refused(name, "does not belong in an image")
            if problem := tree.add(entry.kind, entry.parts, entry.target):
                raise refused(name, problem)
    if tree.kind((_ABOUT,)) != "file" or tree.kind((_ROOTFS,)) != "dir":
        raise BuildFailed("the archive was refused: it is not a whole image")
    try:
        unpack(archive, ArchiveFacts(0, 0, "", ()), limits, place)
        (place / _ABOUT).chmod(0o600)
        furnish(place / _ROOTFS)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
