"""A host process that was started: who it is, whether it lives, who belongs to it. Read from its
two small files.
"""

import os
import signal
from dataclasses import dataclass
from datetime import datetime

from innkeeper.core.moments import from_ms
from innkeeper.runtime import places, proc_table, supervisor
from innkeeper.runtime.cgroups import Group


@dataclass(frozen=True, slots=True)
class Started:
    """Never changes once it is on disk. ``uid`` is ``None`` where it runs as our own user.

    ``ports``: (name, container port, host port, protocol).
    """

    process_id: str
    pid: int
    start_ticks: int
    supervisor_pid: int
    booted_at: datetime
    this_boot: bool
    uid: int | None
    group: Group | None
    ports: tuple[tuple[str, int, int, str], ...]

    def alive(self) -> bool:
        """Whether its first process runs."""
        return self.this_boot and proc_table.alive(self.pid, self.start_ticks)

    def terminate(self) -> None:
        """SIGTERM to its first process, if that still runs."""
        if self.this_boot:
            proc_table.send_signal(self.pid, signal.SIGTERM, self.alive)

    def members(self, supervised: bool) -> set[int]:
        """Its first process and all that descends from it. ``supervised``: its supervisor is known
        to live.
        """
        if not self.this_boot:
            return set()
        if self.group is not None:
            return self.group.pids()
        supervisor_pid = self.supervisor_pid if supervised else None
        return set(proc_table.family(self.pid, self.start_ticks, supervisor_pid))

    def kill(self, supervised: bool) -> bool:
        """SIGKILL to all of it; whether nothing is left. Blocks, for some seconds at the most."""
        if not self.this_boot:
            return True
        supervisor_pid = self.supervisor_pid if supervised else None
        return supervisor.kill_family(self.pid, self.start_ticks, supervisor_pid, self.group)


def load(directory: str, process_id: str) -> Started | None:
    """``None`` where it was not started (yet)."""
    record = places.read_json(places.start_path(directory, process_id))
    spec = places.read_json(places.spec_path(directory, process_id))
    if record is None or spec is None:
        return None
    return Started(
        process_id,
        record["pid"],
        record["start_ticks"],
        record["supervisor"],
        from_ms(record["booted_at"]),
        record["boot_id"] == proc_table.boot_id(),
        spec["uid"],
        Group(*record["group"]) if record["group"] else None,
        tuple(
            (name, inside, outside, protocol) for name, inside, outside, protocol in spec["ports"]
        ),
    )


def supervised(directory: str, process_id: str) -> bool:
    """Whether its supervisor lives."""
    try:
        held = supervisor.lock(directory, process_id)
    except FileNotFoundError:
        return False
    if held is None:
        return True
    os.close(held)
    return False
