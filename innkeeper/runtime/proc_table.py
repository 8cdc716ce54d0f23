"""What ``/proc`` tells of processes: who is who, who descends from whom, who holds a socket.

Part of the zygote too, which must stay small: standard library only, and little of it.
"""

import os
import signal
from collections.abc import Callable, Iterator
from functools import lru_cache


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Changes when the machine starts anew: a pid of another boot is nobody's."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


class Stat:
    """The fields of ``/proc/PID/stat`` that matter here; ``start_ticks`` is since boot."""

    __slots__ = ("parent", "pid", "session", "start_ticks", "state")

    def __init__(self, pid: int, text: str) -> None:
        # The name may hold spaces and brackets, so count from its last bracket.
        fields = text[text.rindex(")") + 2 :].split(" ", 21)
        self.pid = pid
        self.state = fields[0]
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.start_ticks = int(fields[19])


def stat(pid: int) -> Stat | None:
    """``None`` where there is no such process (any more)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return Stat(pid, file.read())
    except (FileNotFoundError, ProcessLookupError):
        return None


def start_ticks(pid: int) -> int | None:
    """When ``pid`` started, or ``None`` where it is gone. A zombie still answers."""
    found = stat(pid)
    return None if found is None else found.start_ticks


def alive(pid: int, ticks: int) -> bool:
    """Whether ``pid`` is still the process that started at ``ticks``, and not a zombie."""
    found = stat(pid)
    return found is not None and found.start_ticks == ticks and found.state not in "ZX"


def pids() -> Iterator[int]:
    """Every process of the machine that we may see."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            yield int(name)


def family(first_pid: int, ticks: int | None, supervisor_pid: int | None) -> dict[int, int]:
    """Pids and start ticks of a game: its session, its descendants, and those that its supervisor
    took over.

    ``ticks`` is when the first process started; where its pid is somebody else's by now, the
    session is gone too (the kernel gives no number away while a session bears it). One walk: some
    15 us for each process of the machine.
    """
    table = {pid: found for pid in pids() if (found := stat(pid)) is not None}
    first = table.get(first_pid)
    ours = first is None or first.start_ticks == ticks
    members = {pid for pid, found in table.items() if ours and first_pid in (pid, found.session)}
    parents = {supervisor_pid} if supervisor_pid else set()
    grown = True
    while grown:
        more = {p for p, found in table.items() if found.parent in members | parents} - members
        grown = bool(more)
        members |= more
    return {pid: table[pid].start_ticks for pid in members if table[pid].state not in "ZX"}


def send_signal(pid: int, number: int, still_it: Callable[[], bool]) -> bool:
    """Signal ``pid`` if ``still_it()`` holds once its pidfd is open, so that a recycled pid is
    never signalled.
    """
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not still_it():
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def socket_inodes(pid: int) -> set[int]:
    """The inodes of the sockets that ``pid`` holds; empty where it is gone or not ours to see."""
    inodes = set()
    directory = f"/proc/{pid}/fd"
    try:
        for fd in os.listdir(directory):
            try:
                target = os.readlink(f"{directory}/{fd}")
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                inodes.add(int(target[8:-1]))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return inodes
    return inodes


def owner_of(inode: int) -> int | None:
    """The pid that holds the socket ``inode``, found by a walk over ``/proc``; ``None`` where it
    cannot be told.
    """
    return next((pid for pid in pids() if inode in socket_inodes(pid)), None)


def name_of(pid: int) -> str:
    """The command's name, for people."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return "?"
