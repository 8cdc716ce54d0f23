"""Where the process runtime keeps things below its directory, and how its files are written.

    images/<build key>/{rootfs/, image.json}     processes/<id>/{spec.json, start.json, lock, log}
    exits/<id>.json                              zygote.{sock,lock,log}, start.sock, hints.sock

Part of the zygote too: standard library only, and little of it.
"""

import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

GROUPS = "innkeeper"  # the parent of our control groups; their names are unique on the machine


def process_dir(directory: str, process_id: str) -> str:
    return f"{directory}/processes/{process_id}"


def log_path(directory: str, process_id: str) -> str:
    return f"{directory}/processes/{process_id}/log"


def spec_path(directory: str, process_id: str) -> str:
    return f"{directory}/processes/{process_id}/spec.json"


def start_path(directory: str, process_id: str) -> str:
    return f"{directory}/processes/{process_id}/start.json"


def exit_path(directory: str, process_id: str) -> str:
    return f"{directory}/exits/{process_id}.json"


def make_all(directory: str) -> None:
    """Make the directories; nobody else may look in."""
    for name in ("", "/images", "/processes", "/exits"):
        os.makedirs(directory + name, mode=0o700, exist_ok=True)


def read_json(path: str) -> dict[str, Any] | None:
    """The object in ``path``; ``None`` where there is no such file."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    assert isinstance(value, dict)
    return value


def write_json(
    path: str, value: dict[str, Any], durable: bool = False, keep_old: bool = False
) -> None:
    """Write ``path`` whole or not at all. ``durable``: it survives a power cut. ``keep_old``: the
    first writer wins.
    """
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(json.dumps(value, separators=(",", ":")).encode())
            if durable:
                file.flush()
                os.fsync(fd)
        if keep_old:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return
        else:
            os.rename(temporary, path)
            temporary = ""
    finally:
        if temporary:
            os.unlink(temporary)
    if durable:
        parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


@contextmanager
def socket_address(directory: str, name: str) -> Iterator[str]:
    """An address for the unix socket ``directory/name`` that fits into the 107 bytes such an
    address may have.
    """
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def same_user(connection: socket.socket) -> bool:
    """Whether the other end runs as our own user."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid: int = struct.unpack("3i", credentials)[1]
    return uid == os.geteuid()


def hint(directory: str, process_id: str) -> None:
    """Tell a listening control plane that a process changed. Only a hint: nobody may listen, and
    that is well.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        with socket_address(directory, "hints.sock") as address:
            try:
                sender.sendto(process_id.encode(), address)
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                return
