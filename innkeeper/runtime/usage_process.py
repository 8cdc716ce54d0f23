"""What a host process has used: CPU and memory from its control group, or from its family where it has none.

Egress is that of its TCP connections, as far as they were seen: one that opens and ends between two looks
is missed. All processes share the host's network, so what is sent over UDP cannot be told apart; a process
with a UDP port has no egress that we could name.
"""

import os
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from innkeeper.core.usage import UsageSeen
from innkeeper.runtime import places, proc_table, usage_cgroup
from innkeeper.runtime.process_spec import UID_BASE
from innkeeper.runtime.started import Started
from innkeeper.runtime.started import supervised as is_supervised
from innkeeper.runtime.tcp_sent import TcpSent, tcp_sent
from innkeeper.runtime.usage_cgroup import GroupPaths

_CGROUP_ROOT = "/sys/fs/cgroup"
_TICK_MS = 1000 // os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class ProcessUsage:
    """Counters of the processes below ``directory``. What closed connections had sent is kept in a file of
    the process, so that a restart of the control plane neither loses nor repeats it.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._one_at_a_time = threading.Lock()

    def read(self, processes: Sequence[Started]) -> dict[str, UsageSeen]:
        """What each has used. Blocks.

        One that has ended is left out, unless it still has a control group or had connections.
        """
        supervised = {one: is_supervised(self._directory, one.process_id) for one in processes}
        with self._one_at_a_time:
            sent = self._egress([one for one in processes if _tcp_only(one)], supervised)
        found: dict[str, UsageSeen] = {}
        for started in processes:
            cpu_ms, memory_bytes = _usage(started, supervised[started])
            egress = sent.get(started.process_id)
            if (cpu_ms, memory_bytes, egress) != (None, None, None):
                found[started.process_id] = UsageSeen(cpu_ms, memory_bytes, egress)
        return found

    def _egress(
        self, wanted: Sequence[Started], supervised: Mapping[Started, bool]
    ) -> dict[str, int]:
        connections = tcp_sent() if wanted else []
        found: dict[str, int] = {}
        for started in wanted:
            path = f"{places.process_dir(self._directory, started.process_id)}/egress.json"
            kept = places.read_json(path) or {"ended": 0, "open": {}}
            before: dict[str, int] = kept["open"]
            mine = _of(started, connections, before, supervised[started])
            ended = kept["ended"] + sum(n for cookie, n in before.items() if cookie not in mine)
            if mine != before:
                try:
                    places.write_json(path, {"ended": ended, "open": mine})
                except FileNotFoundError:
                    continue  # it was removed meanwhile
            found[started.process_id] = ended + sum(mine.values())
        return found


def _tcp_only(started: Started) -> bool:
    return all(protocol == "tcp" for *_, protocol in started.ports)


def _of(
    started: Started,
    connections: Sequence[TcpSent],
    known: Collection[str],
    supervised: bool,
) -> dict[str, int]:
    """Its connections by cookie, and what each has sent: to its ports, by its user, or by its programs."""
    ports = {outside for _name, _inside, outside, _protocol in started.ports}
    own_user = started.uid is not None and started.uid >= UID_BASE
    inodes: set[int] = set()
    if not own_user:
        for pid in started.members(supervised):
            inodes |= proc_table.socket_inodes(pid)
    return {
        one.cookie.hex(): one.bytes_acked
        for one in connections
        if one.cookie.hex() in known
        or one.local_port in ports
        or (own_user and one.uid == started.uid and one.inode)
        or (one.inode and one.inode in inodes)
    }


def _usage(started: Started, supervised: bool) -> tuple[int | None, int | None]:
    """CPU and memory: of its control group what that counts, else of its family."""
    group = started.group
    cpu_ms = memory = None
    if group is not None and started.this_boot:
        one = group.version == "v1"
        cpu, limited = (
            f"{_CGROUP_ROOT}/{controller}{group.name}"
            for controller in (("cpu/", "memory/") if one else ("", ""))
        )
        paths = GroupPaths(cpu, limited, 1 if one else 2)
        # Where the time is counted by a controller of its own, the group does not tell it.
        cpu_ms, memory = usage_cgroup.cpu_ms(paths), usage_cgroup.memory_bytes(paths)
    if cpu_ms is None or memory is None:
        family = _family_usage(started, supervised)
        cpu_ms = family[0] if cpu_ms is None else cpu_ms
        memory = family[1] if memory is None else memory
    return cpu_ms, memory


def _family_usage(started: Started, supervised: bool) -> tuple[int | None, int | None]:
    """CPU and memory of its first process and all that descends from it, and lives or was waited for."""
    if not started.alive():
        return None, None
    ticks = pages = 0
    for pid in started.members(supervised):
        try:
            text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
            resident = Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        # utime, stime, and both of the children that were waited for; the name may hold spaces.
        ticks += sum(int(n) for n in text[text.rindex(")") + 2 :].split()[11:15])
        pages += int(resident)
    return ticks * _TICK_MS, pages * _PAGE
