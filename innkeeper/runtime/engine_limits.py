"""The resource limits that a container can be given: an engine may not raise its own hard limits."""

import resource
import socket
import struct
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_ROWS = {"Max open files": "nofile", "Max processes": "nproc"}


def hard_limits(socket_path: Path) -> dict[str, int]:
    """The lowest of the engine's hard limits, of ours, and of the kernel's: ``nofile`` and ``nproc``.

    Without CAP_SYS_RESOURCE a container start fails above them. The engine's are read from the
    process at the other end of its socket, where we may. Raises ``OSError`` where none listens.
    """
    limits = own_limits()
    for name, limit in _theirs(_peer(socket_path)).items():
        limits[name] = min(limits[name], limit)
    return limits


def own_limits() -> dict[str, int]:
    """What an engine that we start can give: ``nofile`` and ``nproc``."""
    # Podman lowers its own limit of processes to the kernel's highest pid.
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text("ascii"))
    return {
        "nofile": _own(resource.RLIMIT_NOFILE),
        "nproc": min(_own(resource.RLIMIT_NPROC), pid_max),
    }


def _own(kind: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return 1 << 31 if hard == resource.RLIM_INFINITY else hard


def _peer(socket_path: Path) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect(str(socket_path))
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(raw)[0]
    return pid


def _theirs(pid: int) -> dict[str, int]:
    try:
        text = Path(f"/proc/{pid}/limits").read_text("ascii")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return {}  # in another pid namespace, or not ours to read
    found = {}
    for line in text.splitlines():
        name = _ROWS.get(line[:26].strip())
        hard = line[26:].split()[1:2]
        if name and hard and hard[0] != "unlimited":
            found[name] = int(hard[0])
    return found
