"""Who has a TCP port of this machine: for the message when ours is taken."""

import contextlib
import socket
from pathlib import Path

from innkeeper.config.values import Address

_LISTENING = "0A"


def is_taken(address: Address) -> bool:
    """Whether binding ``address`` is refused because another program has it."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server does it: connections that linger from an earlier run do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(tuple(address))
            probe.listen(1)
        except OSError:
            return True
        return False


def owner(port: int, proc: Path = Path("/proc")) -> str | None:
    """Name and pid of the process that listens on ``port``; ``None`` when we may not know."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port, proc)}
    for directory in proc.iterdir():
        if not directory.name.isdigit():
            continue
        # Processes end while we look, and other users' files are closed to us.
        with contextlib.suppress(OSError):
            for handle in (directory / "fd").iterdir():
                if str(handle.readlink()) in inodes:
                    name = (directory / "comm").read_text().strip()
                    return f"{name} (process {directory.name})"
    return None


def _listening_inodes(port: int, proc: Path) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes
