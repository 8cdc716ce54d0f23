"""The control group that the steps of a build run in: it bounds their number, and ends what outlives a build.

An engine goes on with a step whose client has gone away: Podman never ends it.
"""

import errno
import os
import signal
import time
from collections.abc import Iterator
from functools import partial

from innkeeper.runtime import proc_table

_PIDS_MAX = 4096
_KILL_S = 5.0  # how long what does not die is waited for
_POLL_S = 0.01


class BuildGroup:
    """The group ``name`` at the top of every hierarchy below ``root``. Needs root, and an engine with
    ``cgroupfs`` as its manager."""

    def __init__(self, name: str, root: str = "/sys/fs/cgroup") -> None:
        self._name = name
        unified = os.path.exists(f"{root}/cgroup.controllers")
        kinds = [""] if unified else [f"/{kind}" for kind in ("pids", "memory", "freezer")]
        self._paths = [f"{root}{kind}/{name}" for kind in kinds if os.path.isdir(f"{root}{kind}")]
        # The engine removes a step's own group after it; the one above it is ours and stays.
        self.parent = f"/{name}/step"

    def make(self) -> None:
        """Make it, or find it made. Raises ``OSError``."""
        for path in self._paths:
            os.makedirs(path, exist_ok=True)
            bound = f"{path}/pids.max"
            if os.path.exists(bound):
                with open(bound, "w", encoding="ascii") as file:
                    file.write(str(_PIDS_MAX))

    def end(self) -> bool:
        """SIGKILL to all in it until nobody is left, then remove it; whether it is gone. Blocks, for
        some seconds at the most."""
        until = time.monotonic() + _KILL_S
        while members := self.members():
            if time.monotonic() >= until:
                return False
            for pid in members:
                proc_table.send_signal(pid, signal.SIGKILL, partial(self._has, pid))
            time.sleep(_POLL_S)
        kept = [path for path in self._paths if not _remove(path)]
        return not kept

    def members(self) -> set[int]:
        """Who is in it or in a group below it."""
        return {pid for path in self._paths for pid in _members(path)}

    def _has(self, pid: int) -> bool:
        return pid in self.members()


def _members(path: str) -> Iterator[int]:
    for place, _, _ in os.walk(path):
        try:
            with open(f"{place}/cgroup.procs", encoding="ascii") as file:
                yield from (int(line) for line in file)
        except OSError as error:  # removed while we look
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise


def _remove(path: str) -> bool:
    for place, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(place)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            if error.errno != errno.ENOENT:
                raise
    return True
