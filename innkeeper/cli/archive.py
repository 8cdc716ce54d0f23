"""Packs a game's folder as the ``.tar.gz`` that a build takes.

The same files always make the same bytes, so that an unchanged folder can be recognized by its hash.
"""

import gzip
import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import click


@dataclass(frozen=True, slots=True)
class Archive:
    """A packed folder: where it is, its size in bytes, its SHA-256 in hex, and how many files it holds."""

    path: Path
    size: int
    sha256: str
    files: int


def pack(folder: Path, target: Path) -> Archive:
    """Write ``folder`` to ``target`` without ``.git`` and what its ``.dockerignore`` names.

    Raises ``click.ClickException`` when there is no Dockerfile at its root.
    """
    if not (folder / "Dockerfile").is_file():
        raise click.ClickException(f"{folder} has no Dockerfile; a build needs one at its root")
    ignored = _ignore(folder / ".dockerignore")
    count = 0
    # Neither a name nor a moment goes into the header of the compression.
    with (
        open(target, "wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in _members(folder, folder, ignored):
            _add(tar, folder, path)
            count += 1
    with open(target, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Archive(target, target.stat().st_size, digest, count)


def _add(tar: tarfile.TarFile, folder: Path, path: Path) -> None:
    entry = tar.gettarinfo(path, path.relative_to(folder).as_posix())
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    # Hard links would name files by the order they were met in: every file carries its content.
    if path.is_symlink() or not path.is_file():
        tar.addfile(entry)
        return
    entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", path.stat().st_size
    with open(path, "rb") as content:
        tar.addfile(entry, content)


def _members(folder: Path, inside: Path, ignored: Callable[[str], bool]) -> Iterator[Path]:
    """Files and links in order of name. Sockets and devices are left out: no image can hold them."""
    for path in sorted(inside.iterdir()):
        name = path.relative_to(folder).as_posix()
        if name == ".git":
            continue
        if path.is_dir() and not path.is_symlink():
            # A later "!" line may bring back a file inside a folder that is ignored.
            yield from _members(folder, path, ignored)
        elif (name == "Dockerfile" or not ignored(name)) and (path.is_file() or path.is_symlink()):
            yield path


def _ignore(file: Path) -> Callable[[str], bool]:
    """Whether a path is ignored: the last line that matches it, or a folder above it, decides."""
    rules: list[tuple[re.Pattern[str], bool]] = []
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    for line in (line.strip() for line in lines):
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").strip().strip("/")
            rules.append((_pattern(pattern), not line.startswith("!")))

    def ignored(name: str) -> bool:
        path = PurePosixPath(name)
        places = [name, *(parent.as_posix() for parent in path.parents if parent.name)]
        verdict = False
        for pattern, ignores in rules:
            if any(pattern.fullmatch(place) for place in places):
                verdict = ignores
        return verdict

    return ignored


def _pattern(text: str) -> re.Pattern[str]:
    """Docker's patterns: ``*`` and ``?`` stay within a segment, ``**`` crosses any number of them."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text)
    shapes = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(shapes.get(part, re.escape(part)) for part in parts), re.DOTALL)
