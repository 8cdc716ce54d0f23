"""Builds images of the process runtime: the Dockerfile's files in a directory, without any
container engine.

Nothing of an upload is run while it is built. Owners and set-user bits are dropped and everything
is made readable, because each process runs as a user of its own.
"""

import asyncio
import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from innkeeper.core.errors import BuildFailed
from innkeeper.interfaces import BuiltImage
from innkeeper.runtime import images
from innkeeper.runtime.archive import (
    ArchiveFacts,
    ArchiveLimits,
    ArchiveReader,
    Entry,
    below,
    check_archive,
    refused,
    split,
)
from innkeeper.runtime.dockerfile import Instruction, expand, parse, variables, words
from innkeeper.runtime.dockerfile_copy import Copier

Log = Callable[[str], None]
_COPY_BYTES = 256 * 1024
_HOST_FILES = ("/etc/hosts", "/etc/resolv.conf")
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}


class ProcessBuilder:
    """:class:`innkeeper.interfaces.Builder` of the process runtime; ``directory`` is that
    runtime's.
    """

    def __init__(self, directory: Path, limits: ArchiveLimits | None = None) -> None:
        self._directory = directory.absolute()
        self._limits = limits or ArchiveLimits()

    async def build(self, build_key: str, archive: Path, log: Log) -> BuiltImage:
        """Check, unpack, follow the Dockerfile. Raises :class:`BuildFailed`; then no file is left
        behind.
        """
        loop = asyncio.get_running_loop()
        stopped = threading.Event()

        def say(line: str) -> None:
            if stopped.is_set():
                raise BuildFailed("it was stopped")
            loop.call_soon_threadsafe(log, line)

        thread = asyncio.create_task(asyncio.to_thread(self._build, build_key, archive, say))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            # A thread cannot be ended from outside: it ends itself at its next line, and cleans up.
            stopped.set()
            await asyncio.wait({thread})
            if thread.exception() is None:
                await self.delete(build_key)
            raise

    def _build(self, build_key: str, archive: Path, log: Log) -> BuiltImage:
        images.check_name(build_key)
        made = images.load(self._directory, build_key)
        if made is not None:
            return BuiltImage(build_key, _size(made.rootfs))
        work = self._directory / "images" / f".building-{build_key}"
        shutil.rmtree(work, ignore_errors=True)
        try:
            work.mkdir(mode=0o700, parents=True)
            facts = check_archive(archive, self._limits)
            for warning in facts.warnings:
                log(warning)
            unpack(archive, facts, self._limits, work / "context")
            image = _follow(work, self._limits, log)
            shutil.rmtree(work / "context")
            size = _size(image.rootfs)
            furnish(image.rootfs)
            images.save(image)
            work.rename(work.with_name(build_key))
        except OSError as error:
            raise BuildFailed(_host_trouble(error)) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return BuiltImage(build_key, size)

    async def pull(
        self, build_key: str, image: str, registry_url: str | None, auth: str | None, log: Log
    ) -> BuiltImage:
        """Always raises :class:`BuildFailed`: plain host processes cannot run a registry's image."""
        raise BuildFailed(
            "an image from a registry needs a container engine (Docker or Podman); "
            "this server runs plain host processes (--runtime process)"
        )

    async def discard(self, build_key: str) -> None:
        """Remove the image of a build whose end nobody saw, and what it had made so far."""
        await self.delete(build_key)
        work = self._directory / "images" / f".building-{build_key}"
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    async def delete(self, image_ref: str) -> None:
        """Nothing new starts from it; its files go when the last process that runs it is removed."""
        images.check_name(image_ref)
        await asyncio.to_thread(images.discard, self._directory, image_ref)
        await asyncio.to_thread(images.sweep, self._directory)


def unpack(archive: Path, facts: ArchiveFacts, limits: ArchiveLimits, target: Path) -> None:
    """Unpack a checked archive below ``target``, which must not exist. Owners are not restored.
    Blocks.
    """
    target.mkdir(mode=0o755)
    with ArchiveReader(archive, limits) as reader:
        for entry in reader.entries():
            parts = below(entry.parts, facts.top)
            if parts:
                place = target.joinpath(*parts)
                place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                _unpack_one(entry, place, target, facts, reader)


def _unpack_one(
    entry: Entry, place: Path, target: Path, facts: ArchiveFacts, reader: ArchiveReader
) -> None:
    if entry.kind == "dir":
        place.mkdir(mode=0o755, exist_ok=True)
        return
    if place.is_symlink() or place.exists():
        # The check let only a file follow a file of the same name: the later one counts.
        place.unlink()
    if entry.kind == "symlink":
        place.symlink_to(entry.target)
    elif entry.kind == "hardlink":
        source = target.joinpath(*below(split(entry.target), facts.top))
        if source.is_symlink() or not source.is_file():
            raise refused("/".join(entry.parts), "is a hard link to something that is no file")
        os.link(source, place, follow_symlinks=False)
    else:
        content = reader.content(entry)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(place, flags, 0o600), "wb") as file:
            while piece := content.read(_COPY_BYTES):
                file.write(piece)
            os.fchmod(file.fileno(), readable(entry.mode))


def readable(mode: int) -> int:
    """A file's permissions as everybody may have them: read, and execute where anybody could."""
    return 0o755 if mode & 0o111 else 0o644


def _follow(work: Path, limits: ArchiveLimits, log: Log) -> images.Image:
    """Carry out the Dockerfile of ``work/context`` into ``work/rootfs``."""
    context, rootfs = work / "context", work / "rootfs"
    rootfs.mkdir(mode=0o755)
    source = images.resolve(context, "/Dockerfile")
    if source is None or not source.is_file():
        raise BuildFailed("the archive holds no Dockerfile at its root")
    instructions = parse(source.read_bytes())
    if (context / ".dockerignore").exists():
        log("warning: .dockerignore is not applied in this runtime")
    builder = _Steps(rootfs, Copier(context, rootfs, limits, log))
    for number, instruction in enumerate(instructions, 1):
        log(f"Step {number}/{len(instructions)} : {instruction.name} {instruction.text}"[:1000])
        builder.step(instruction)
    return builder.image(instructions[-1])


class _Steps:
    """What the instructions so far have made."""

    def __init__(self, rootfs: Path, copier: Copier) -> None:
        self._rootfs = rootfs
        self._copier = copier
        self._env: dict[str, str] = {}
        self._workdir = "/"
        self._cmd: tuple[str, ...] = ()
        self._entrypoint: tuple[str, ...] = ()
        self._shell_line: Instruction | None = None

    def step(self, instruction: Instruction) -> None:
        match instruction.name:
            case "COPY" | "ADD":
                self._copier.copy(instruction, words(instruction, self._env), self._workdir)
            case "ENV":
                self._env.update(variables(instruction, self._env))
            case "WORKDIR":
                path = expand(instruction.text.strip("\"'"), self._env)
                path = os.path.normpath(os.path.join(self._workdir, path))
                self._workdir = "/" + path.lstrip("/")
                self._copier.make_directory(instruction, self._workdir)
            case "CMD":
                self._cmd = self._command(instruction)
            case "ENTRYPOINT":
                self._entrypoint = self._command(instruction)
            case "FROM" | "EXPOSE":
                pass  # ports come from the deployment

    def _command(self, instruction: Instruction) -> tuple[str, ...]:
        if instruction.array is not None:
            if not instruction.array and instruction.name == "ENTRYPOINT":
                return ()
            if any("\0" in word for word in instruction.array):
                raise instruction.fail("holds a NUL character")
            return instruction.array
        self._shell_line = instruction
        return ("/bin/sh", "-c", instruction.text)

    def image(self, last: Instruction) -> images.Image:
        """The result. Raises :class:`BuildFailed` where nothing could be started from it."""
        shell = self._shell_line
        if shell is not None and images.resolve(self._rootfs, "/bin/sh") is None:
            raise shell.fail(
                "in this form is run by /bin/sh, which the image does not hold; "
                'write it as ["/program", "argument"]'
            )
        cmd = () if self._entrypoint[:2] == ("/bin/sh", "-c") else self._cmd
        if not self._entrypoint + cmd:
            raise BuildFailed(
                f"Dockerfile line {last.line}: neither CMD nor ENTRYPOINT says what to start"
            )
        return images.Image(self._rootfs, self._entrypoint, cmd, self._env, self._workdir)


def furnish(rootfs: Path) -> None:
    """What an engine would add to a container: how names are resolved on this host and, as root, the
    harmless devices. Nothing that the image has is replaced."""
    for path in _HOST_FILES:
        place = images.place(rootfs, path)
        if place is not None and not place.exists() and Path(path).is_file():
            try:
                place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                continue  # the image has a file there
            shutil.copyfile(path, place)
            place.chmod(0o644)
    for name, (major, minor) in _DEVICES.items() if os.geteuid() == 0 else ():
        place = images.place(rootfs, f"/dev/{name}")
        if place is not None and not place.exists():
            try:
                place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            except (PermissionError, FileExistsError, NotADirectoryError):
                return  # without this right, as in a container, or with a file in its place
            place.chmod(0o666)


def _size(rootfs: Path) -> int:
    total = 0
    for directory, _names, files in os.walk(rootfs):
        for name in files:
            found = os.lstat(os.path.join(directory, name))
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def _host_trouble(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the server's disk is full"
    return f"the server could not write the image: {error.strerror}"
