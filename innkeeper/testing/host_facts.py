"""What this machine itself shows of an installation: its games' processes, and what its store still holds."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from innkeeper.testing.live_database import opened


@dataclass(frozen=True, slots=True, order=True)
class Pid:
    """One process of the host, named for ever by its number and its start time (clock ticks)."""

    pid: int
    start_ticks: int


def games(app_id: str, command: str) -> dict[str, list[Pid]]:
    """The host's processes that run ``command`` for an app, by our process id.

    They are known by the environment they were started with, in a container or not.
    """
    found: dict[str, list[Pid]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            stat = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if f"HATHORA_APP_ID={app_id}".encode() not in environment:
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        if name != command:
            continue
        for variable in environment:
            if variable.startswith(b"HATHORA_PROCESS_ID="):
                process_id = variable.partition(b"=")[2].decode()
                pid = Pid(int(entry.name), int(rest.split()[19]))
                found.setdefault(process_id, []).append(pid)
    return found


def alive(pid: Pid) -> bool:
    """Whether that very process is still there."""
    try:
        stat = Path(f"/proc/{pid.pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = stat.rpartition(")")[2].split()
    return fields[0] not in ("Z", "X") and int(fields[19]) == pid.start_ticks


def processes_of(data_dir: Path) -> dict[int, str]:
    """Everything on this host that was started for a data directory: its pid and command line."""
    needle = os.fsencode(data_dir)
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if needle in line:
                found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def end_by_force(data_dir: Path) -> None:
    """Kill what was started for a data directory of a test, and the children of that."""
    ours = set(processes_of(data_dir))
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent in ours:
                ours.add(int(entry.name))
    for pid in ours:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Held:
    """What the store holds for processes that are not over."""

    live_processes: int
    remains: int
    ports: int
    memory_mb_promised: int
    sandboxes: int


def held(data_dir: Path, database_url: str | None = None) -> Held:
    """What an installation's store says is in use."""
    with opened(data_dir, database_url) as ask:

        def number(statement: str) -> int:
            return int(ask(statement)[0][0])

        return Held(
            number("SELECT count(*) FROM processes WHERE terminated_at IS NULL"),
            number("SELECT count(*) FROM processes WHERE removed = 0"),
            number("SELECT count(*) FROM host_ports WHERE owner IS NOT NULL"),
            number("SELECT coalesce(sum(memory_mb_promised), 0) FROM machine"),
            number("SELECT count(*) FROM sandboxes"),
        )
