"""CPU time and memory of a control group, version 1 or 2, and the bytes that a network namespace has sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")


@dataclass(frozen=True, slots=True)
class GroupPaths:
    """The directories that tell of one group; ``None`` where its controller is not there."""

    cpu: str | None
    memory: str | None
    version: int


@dataclass(frozen=True, slots=True)
class Roots:
    """Where control groups are mounted: by controller in version 1, and all in one in version 2."""

    by_controller: Mapping[str, str]
    unified: str | None


def roots_of(mounts: str) -> Roots:
    """From the text of ``/proc/mounts``."""
    controllers: dict[str, str] = {}
    unified = None
    for line in mounts.splitlines():
        _device, place, kind, options, *_ = line.split(" ")
        if kind == "cgroup":
            controllers.update(dict.fromkeys(options.split(","), place))
        elif kind == "cgroup2":
            unified = unified or place
    return Roots(controllers, unified)


@lru_cache(maxsize=1)
def _here() -> Roots:
    """This machine's: they do not change while it runs."""
    return roots_of(_MOUNTS.read_text("utf-8", "replace"))


def groups_of(pid: int) -> str:
    """The text of ``/proc/PID/cgroup``. Raises ``OSError`` where the process is gone."""
    return Path(f"/proc/{pid}/cgroup").read_text("utf-8", "replace")


def paths_of(groups: str, roots: Roots | None = None) -> GroupPaths:
    """The directories of the groups that :func:`groups_of` tells of, on this machine by default."""
    roots = roots or _here()
    places: dict[str, str] = {}
    for line in groups.splitlines():
        _number, controllers, place = line.split(":", 2)
        for controller in controllers.split(","):
            places[controller] = place
    if "cpuacct" in places and "cpuacct" in roots.by_controller:
        cpu, memory = (
            roots.by_controller[name] + places[name]
            if name in places and name in roots.by_controller
            else None
            for name in ("cpuacct", "memory")
        )
        return GroupPaths(cpu, memory, 1)
    if "" in places and roots.unified is not None:
        path = roots.unified + places[""]
        return GroupPaths(path, path, 2)
    return GroupPaths(None, None, 1)


def cpu_ms(paths: GroupPaths) -> int | None:
    """Milliseconds of one core that the group has used; ``None`` where nothing counts them."""
    if paths.cpu is None:
        return None
    try:
        if paths.version == 1:
            return int(_read(f"{paths.cpu}/cpuacct.usage")) // 1_000_000
        return _field(_read(f"{paths.cpu}/cpu.stat"), "usage_usec", 1) // 1000
    except (FileNotFoundError, NotADirectoryError):
        return None


def memory_bytes(paths: GroupPaths) -> int | None:
    """The memory that the group holds, less file contents that the kernel may drop at any time."""
    if paths.memory is None:
        return None
    one = paths.version == 1
    try:
        held = int(_read(f"{paths.memory}/{'memory.usage_in_bytes' if one else 'memory.current'}"))
        stat = _read(f"{paths.memory}/memory.stat")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return max(0, held - _field(stat, "total_inactive_file" if one else "inactive_file", 0))


def sent_bytes(pid: int) -> int | None:
    """What the network interfaces of a process's namespace have sent, its loopback aside.

    ``None`` where it is gone. Blocks for microseconds, unlike the socket tables beside it.
    """
    try:
        text = Path(f"/proc/{pid}/net/dev").read_text("ascii", "replace")
    except OSError:
        return None
    total = 0
    for line in text.splitlines()[2:]:
        name, _, counters = line.partition(":")
        if name.strip() != "lo":
            total += int(counters.split()[8])
    return total


def _read(path: str) -> str:
    return Path(path).read_text("ascii")


def _field(text: str, name: str, least: int) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    if least:
        raise FileNotFoundError(name)
    return 0
