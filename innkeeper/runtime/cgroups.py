"""Memory and CPU limits by control groups, version 1 or 2, one group for each process.

Part of the zygote too: standard library only, and little of it. Needs root: ``layout()`` tells.
"""

import errno
import os

from innkeeper.runtime.proc_table import start_ticks

_ROOT = "/sys/fs/cgroup"
_PERIOD_US = 100_000


def layout(root: str = _ROOT) -> str | None:
    """``"v1"`` or ``"v2"`` where memory and CPU can be limited by us, else ``None``."""
    if all(os.access(f"{root}/{name}/cgroup.procs", os.W_OK) for name in ("memory", "cpu")):
        return "v1"
    try:
        with open(f"{root}/cgroup.subtree_control", encoding="ascii") as file:
            enabled = file.read().split()
    except FileNotFoundError:
        return None
    writable = os.access(f"{root}/cgroup.procs", os.W_OK)
    return "v2" if writable and {"memory", "cpu"} <= set(enabled) else None


class Group:
    """The control group of one process; ``name`` is a relative path such as ``innkeeper/<process
    id>``.
    """

    def __init__(self, version: str, name: str, root: str = _ROOT) -> None:
        self.version = version
        self.name = name
        kinds = ("memory/", "cpu/") if version == "v1" else ("",)
        self._paths = [f"{root}/{kind}{name}" for kind in kinds]
        self._memory, self._cpu = self._paths[0], self._paths[-1]

    def make(self) -> None:
        """Make it, or find it made, without limits yet."""
        for path in self._paths:
            self._make_directory(path)

    def limit(self, memory_mb: int, cpu_millis: int) -> None:
        """Set its limits, which hold for who is in it already, too."""
        quota = cpu_millis * _PERIOD_US // 1000
        if self.version == "v1":
            _write(f"{self._memory}/memory.limit_in_bytes", f"{memory_mb << 20}")
            # Memory and swap together, where the kernel counts that; never below the limit itself.
            _write_if_there(f"{self._memory}/memory.memsw.limit_in_bytes", f"{memory_mb << 20}")
            _write(f"{self._cpu}/cpu.cfs_period_us", f"{_PERIOD_US}")
            _write(f"{self._cpu}/cpu.cfs_quota_us", f"{quota}")
        else:
            _write(f"{self._memory}/memory.max", f"{memory_mb << 20}")
            _write_if_there(f"{self._memory}/memory.swap.max", "0")
            _write(f"{self._cpu}/cpu.max", f"{quota} {_PERIOD_US}")

    def _make_directory(self, path: str) -> None:
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            os.makedirs(parent, exist_ok=True)
        if self.version == "v2":
            _write(f"{parent}/cgroup.subtree_control", "+memory +cpu")
        try:
            os.mkdir(path)
        except FileExistsError:
            return

    def join(self) -> None:
        """Move the calling process into it."""
        for path in self._paths:
            _write(f"{path}/cgroup.procs", "0")

    def pids(self) -> set[int]:
        """Who is in it; nobody where it is gone."""
        found: set[int] = set()
        for path in self._paths:
            try:
                with open(f"{path}/cgroup.procs", encoding="ascii") as file:
                    found.update(int(line) for line in file)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise
        return found

    def oom_kills(self) -> int:
        """How often the kernel killed in it for want of memory."""
        name = "memory.oom_control" if self.version == "v1" else "memory.events"
        try:
            with open(f"{self._memory}/{name}", encoding="ascii") as file:
                for line in file:
                    key, _, value = line.partition(" ")
                    if key == "oom_kill":
                        return int(value)
        except FileNotFoundError:
            return 0
        return 0

    def remove(self) -> bool:
        """Whether it is gone; it stays while somebody is in it."""
        for path in self._paths:
            try:
                os.rmdir(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno == errno.EBUSY:
                    return False
                raise
        return True


def remove_dead(version: str, parent: str, root: str = _ROOT) -> None:
    """Remove groups that nobody is in and whose supervisor is gone."""
    top = f"{root}/memory/{parent}" if version == "v1" else f"{root}/{parent}"
    try:
        names = [entry.name for entry in os.scandir(top) if entry.is_dir()]
    except FileNotFoundError:
        return
    for name in names:
        pid, _, ticks = name.partition("-")
        if pid.isdecimal() and ticks.isdecimal() and start_ticks(int(pid)) != int(ticks):
            Group(version, f"{parent}/{name}", root).remove()


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)


def _write_if_there(path: str, text: str) -> None:
    if os.path.exists(path):
        _write(path, text)
