"""Usage without control groups: of the process's family, from ``/proc``."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

from innkeeper.runtime import proc_table
from innkeeper.runtime.started import Started
from innkeeper.runtime.usage_process import ProcessUsage


def ourselves(pid: int, ticks: int) -> Started:
    ports = (("default", 1, 1, "udp"),)
    return Started("p", pid, ticks, 0, datetime.now(UTC), True, None, None, ports)


def test_a_family_is_measured_by_its_processes(tmp_path: Path) -> None:
    (tmp_path / "processes" / "p").mkdir(parents=True)
    ticks = proc_table.start_ticks(os.getpid())
    assert ticks is not None
    used = ProcessUsage(str(tmp_path)).read([ourselves(os.getpid(), ticks)])["p"]
    assert used.cpu_ms is not None
    # The clock of /proc counts in hundredths of a second.
    assert used.cpu_ms >= time.process_time() * 1000 - 200
    assert used.memory_bytes is not None
    assert used.memory_bytes > 5 * 2**20
    assert used.egress_bytes is None, "a process with a UDP port has no egress that we could name"


def test_a_pid_of_somebody_else_is_not_measured(tmp_path: Path) -> None:
    assert ProcessUsage(str(tmp_path)).read([ourselves(os.getpid(), 1)]) == {}
