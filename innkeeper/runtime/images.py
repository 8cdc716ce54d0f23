"""Images of the process runtime: ``DIR/images/<name>/`` with ``rootfs/`` and ``image.json``.

``image.json`` holds ``entrypoint``, ``cmd``, ``env`` and ``workdir``, as a container image would.
"""

import os
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from errno import EACCES, ENOENT, ENOEXEC
from pathlib import Path
from typing import Any

from innkeeper.runtime import places

_LINKS_MAX = 40
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MACHINES = {
    3: "x86",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv",
    22: "s390x",
    21: "ppc64",
}


@dataclass(frozen=True, slots=True)
class Image:
    """What a build left: a directory tree and how to start it. ``env`` is in the Dockerfile's
    order.
    """

    rootfs: Path
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: dict[str, str]
    workdir: str

    @property
    def argv(self) -> tuple[str, ...]:
        """ENTRYPOINT followed by CMD."""
        return self.entrypoint + self.cmd


def load(directory: Path, image_ref: str) -> Image | None:
    """The image, or ``None`` where there is none of that name."""
    place = directory / "images" / image_ref
    found = places.read_json(str(place / "image.json"))
    if found is None:
        return None
    return Image(
        place / "rootfs",
        tuple(found["entrypoint"]),
        tuple(found["cmd"]),
        dict(found["env"]),
        found["workdir"],
    )


def save(image: Image) -> None:
    """Write ``image.json`` beside the ``rootfs``: from then on the image exists."""
    value: dict[str, Any] = {
        "entrypoint": image.entrypoint,
        "cmd": image.cmd,
        "env": image.env,
        "workdir": image.workdir,
    }
    places.write_json(str(image.rootfs.parent / "image.json"), value, durable=True)


def discard(directory: Path, image_ref: str) -> None:
    """Take the image away from new processes; its files go when nothing that runs needs them
    (:func:`sweep`).
    """
    place = directory / "images" / image_ref
    trash = directory / "trash"
    trash.mkdir(mode=0o700, exist_ok=True)
    try:
        place.rename(trash / image_ref)
    except FileNotFoundError:
        return


def sweep(directory: Path) -> None:
    """Remove discarded images that no process of ours still has as its root."""
    trash = directory / "trash"
    if not trash.is_dir() or not (discarded := {entry.name for entry in trash.iterdir()}):
        return
    for process_id in os.listdir(directory / "processes"):
        spec = places.read_json(places.spec_path(str(directory), process_id))
        if spec is not None:
            discarded.discard(spec["image_ref"])
    for name in discarded:
        shutil.rmtree(trash / name, ignore_errors=True)  # another server may be at it


def check_name(image_ref: str) -> None:
    """Image names become directory names; they are ours, so anything else is a mistake of ours."""
    assert image_ref.replace("-", "").isalnum(), image_ref


def resolve(rootfs: Path, path: str) -> Path | None:
    """The file that ``path`` means inside ``rootfs``, on the host; links are followed as if it were
    the root.

    ``None`` where there is no such file.
    """
    found = place(rootfs, path)
    return found if found is not None and os.path.lexists(found) else None


def place(rootfs: Path, path: str) -> Path | None:
    """As :func:`resolve`, but it need not exist. ``None`` where links lead round in a circle."""
    at: list[str] = []
    todo, links = [part for part in reversed(path.split("/")) if part], 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            at = at[:-1]
            continue
        candidate = rootfs.joinpath(*at, part)
        if not candidate.is_symlink():
            at.append(part)
            continue
        links += 1
        if links > _LINKS_MAX:
            return None
        target = os.readlink(candidate)
        at = [] if target.startswith("/") else at
        todo += reversed(target.split("/"))
    return rootfs.joinpath(*at)


def find_program(image: Image, path: str | None) -> str:
    """The program's path inside the image, found as a shell would: by ``path`` where it has no
    slash.

    Where nothing is found the name itself comes back, and starting it will fail and say so.
    """
    program = image.argv[0]
    if "/" in program:
        return program if program.startswith("/") else f"{image.workdir.rstrip('/')}/{program}"
    for directory in (path or _DEFAULT_PATH).split(":"):
        found = resolve(image.rootfs, f"{directory}/{program}")
        if directory and found is not None and found.is_file():
            return f"{directory.rstrip('/')}/{program}"
    return f"/{program}"


def why_not_started(image: Image, program: str, number: int) -> str:
    """What ``execve`` meant by ``number``, in words for people; ``program`` is its path inside the
    image.
    """
    found = resolve(image.rootfs, program)
    if found is None or not found.is_file():
        return f"there is no file {program} in the image"
    head = found.read_bytes()[:4096] if os.access(found, os.R_OK) else b""
    if number == EACCES and found.stat().st_mode & 0o111:
        return f"the file system that holds {program} does not allow programs (noexec)"
    if number == EACCES:
        return f"{program} is not executable; make it so before the archive is packed (chmod +x)"
    if number == ENOENT and head[:2] == b"#!":
        interpreter = head[2:].split(b"\n", 1)[0].strip().decode(errors="replace")
        return f"{program} needs {interpreter}, which the image does not hold"
    if number == ENOENT:
        return f"{program} needs a dynamic loader that the image does not hold; link it statically"
    if number == ENOEXEC:
        machine = _machine(head)
        if machine is not None and machine != os.uname().machine:
            return f"{program} is built for {machine}; this machine is {os.uname().machine}"
        return f"{program} is neither a program for this machine nor a script that names its interpreter"
    return f"{program}: {os.strerror(number)}"


def _machine(head: bytes) -> str | None:
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return None
    order = ">" if head[5] == 2 else "<"
    number = struct.unpack_from(f"{order}H", head, 18)[0]
    return _MACHINES.get(number, f"another processor (ELF machine {number})")


def on_host(image: Image, arguments: Sequence[str]) -> list[str]:
    """Arguments with absolute paths that exist in the image turned into the host's paths: there is
    no chroot.
    """
    mapped = []
    for argument in arguments:
        found = resolve(image.rootfs, argument) if argument.startswith("/") else None
        mapped.append(argument if found is None else str(found))
    return mapped
