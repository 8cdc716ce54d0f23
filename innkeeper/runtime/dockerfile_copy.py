"""COPY and ADD of local files, from the unpacked archive into an image's directory.

Both trees may hold links. A path is always resolved as if the tree were the root of the file
system, so neither reading nor writing can leave it, wherever a link was made to point by being
copied.
"""

import fnmatch
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from innkeeper.runtime import images
from innkeeper.runtime.archive import ArchiveLimits
from innkeeper.runtime.dockerfile import Instruction

_REMOTE = re.compile(r"\A(?:[a-z][a-z0-9+.-]*://|git@)", re.IGNORECASE | re.ASCII)
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class Copier:
    """Copies from ``context`` to ``rootfs``; ``log`` gets warnings. An image has the bounds of an
    archive.
    """

    def __init__(
        self, context: Path, rootfs: Path, limits: ArchiveLimits, log: Callable[[str], None]
    ) -> None:
        self._limits = limits
        self._bytes_left = limits.bytes_max
        self._files_left = limits.entries_max
        self._context = context
        self._rootfs = rootfs
        self._log = log

    def copy(self, instruction: Instruction, arguments: list[str], workdir: str) -> None:
        """Carry out one COPY or ADD. Raises :class:`~innkeeper.core.errors.BuildFailed` naming its
        line.
        """
        mode = self._flags(instruction)
        if len(arguments) < 2:
            raise instruction.fail("needs at least a source and a destination")
        *patterns, destination = arguments
        sources = [found for pattern in patterns for found in self._sources(instruction, pattern)]
        into = destination.endswith(("/", "/.")) or destination in (".", "")
        if len(sources) > 1 and not into:
            raise instruction.fail("has several sources, so its destination must end with a slash")
        place = self._place(instruction, os.path.join(workdir, destination))
        for name, source in sources:
            if source.is_dir():
                self._tree(instruction, source, place, mode)
            elif into or place.is_dir():
                self._file(instruction, source, place, name, mode)
            else:
                self._file(instruction, source, place.parent, place.name, mode)

    def make_directory(self, instruction: Instruction, path: str) -> None:
        """WORKDIR makes its directory."""
        self._make(instruction, self._place(instruction, path))

    def _flags(self, instruction: Instruction) -> int | None:
        for name in instruction.flags:
            if name not in ("chown", "chmod", "link"):
                raise instruction.needs_engine(f"--{name}")
        if "chown" in instruction.flags:
            self._log(
                f"warning: Dockerfile line {instruction.line}: --chown is not applied; "
                "each process runs as a user of its own and can read all files"
            )
        chmod = instruction.flags.get("chmod")
        if chmod is None:
            return None
        if not re.fullmatch(r"[0-7]{3,4}", chmod):
            raise instruction.needs_engine("--chmod with anything but octal digits")
        return int(chmod, 8) & 0o777

    def _sources(self, instruction: Instruction, pattern: str) -> Iterator[tuple[str, Path]]:
        if _REMOTE.match(pattern):
            raise instruction.needs_engine("from the network")
        found = sorted(self._matches(pattern))
        if not found:
            raise instruction.fail(f"finds nothing in the archive: {pattern}")
        for path in found:
            source = images.resolve(self._context, path)
            if source is None:
                raise instruction.fail(f"finds nothing in the archive: {path}")
            if instruction.name == "ADD" and source.is_file() and _is_packed(source):
                raise instruction.needs_engine(f"would unpack {path}, which")
            yield os.path.basename(path) or source.name, source

    def _matches(self, pattern: str) -> list[str]:
        """Paths in the context; ``*``, ``?`` and ``[…]`` match within one part of a path."""
        parts = [part for part in os.path.normpath("/" + pattern).split("/") if part]
        found = ["/"]
        for part in parts:
            grown = []
            for path in found:
                if not re.search(r"[*?\[]", part):
                    grown.append(os.path.join(path, part))
                    continue
                directory = images.resolve(self._context, path)
                if directory is not None and directory.is_dir():
                    names = fnmatch.filter(os.listdir(directory), part.replace("[^", "[!"))
                    grown += [os.path.join(path, name) for name in names]
            found = grown
        return [path for path in found if images.resolve(self._context, path) is not None]

    def _place(self, instruction: Instruction, path: str) -> Path:
        place = images.place(self._rootfs, path)
        if place is None:
            raise instruction.fail(f"has a destination that links lead round in a circle: {path}")
        return place

    def _make(self, instruction: Instruction, place: Path) -> None:
        try:
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            shown = place.relative_to(self._rootfs)
            raise instruction.fail(f"needs a directory where a file is: /{shown}") from error

    def _tree(self, instruction: Instruction, source: Path, place: Path, mode: int | None) -> None:
        """The content of a directory; links in it stay links."""
        self._make(instruction, place)
        for entry in sorted(os.scandir(source), key=lambda found: found.name):
            if entry.is_dir(follow_symlinks=False):
                inside = str(place.relative_to(self._rootfs) / entry.name)
                self._tree(instruction, Path(entry.path), self._place(instruction, inside), mode)
            else:
                self._file(instruction, Path(entry.path), place, entry.name, mode)

    def _count(self, instruction: Instruction, size: int) -> None:
        """One file more; copying the same tree again and again must not fill the disk."""
        self._bytes_left -= size
        self._files_left -= 1
        if self._bytes_left < 0 or self._files_left < 0:
            raise instruction.fail(
                f"makes the image larger than {self._limits.bytes_max} bytes "
                f"or {self._limits.entries_max} files"
            )

    def _file(
        self, instruction: Instruction, source: Path, place: Path, name: str, mode: int | None
    ) -> None:
        self._make(instruction, place)
        target = place / name
        if target.is_dir() and not target.is_symlink():
            shown = target.relative_to(self._rootfs)
            raise instruction.fail(f"would replace the directory /{shown} by a file")
        target.unlink(missing_ok=True)  # a link that is there is replaced, never followed
        self._count(instruction, source.lstat().st_size)
        if source.is_symlink():
            target.symlink_to(os.readlink(source))
            return
        shutil.copyfile(source, target, follow_symlinks=False)
        target.chmod(source.stat().st_mode & 0o777 if mode is None else mode)


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith(_PACKED) or head[257:262] == b"ustar"
