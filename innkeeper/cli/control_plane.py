"""Which control plane runs on a data directory, and how it is stopped.

The file ``control-plane.pid`` holds the pid and the start time of its process: together they name one
process for ever, so a number that the kernel has given to another program is never signalled.
"""

import contextlib
import fcntl
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from innkeeper.core.errors import Invalid, StateConflict


@dataclass(frozen=True, slots=True)
class Identity:
    """One process: its pid, and when it started in clock ticks since boot."""

    pid: int
    start_ticks: int


def identity_of(pid: int) -> Identity | None:
    """The process that has this pid now; ``None`` for none, or one that is dead but not yet reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold spaces and parentheses of its own.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else Identity(pid, int(fields[19]))


def pid_path(data_dir: Path) -> Path:
    """Where the identity of the control plane is kept."""
    return data_dir / "control-plane.pid"


def running(data_dir: Path) -> Identity | None:
    """The control plane that runs on ``data_dir``, or ``None``."""
    try:
        pid, start_ticks = (int(part) for part in pid_path(data_dir).read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    recorded = Identity(pid, start_ticks)
    return recorded if identity_of(pid) == recorded else None


@contextlib.contextmanager
def claimed(data_dir: Path) -> Iterator[None]:
    """Hold ``data_dir`` for this process.

    Raises :class:`StateConflict` when another one has it, :class:`Invalid` where it cannot be used.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        with open(data_dir / "down.lock", "a"):
            pass
    except OSError as error:
        raise Invalid("--data-dir", f"{data_dir} cannot be used: {error.strerror}") from error
    with sole_down(data_dir):
        # What is being stopped must be gone before somebody starts on it.
        pass
    path = pid_path(data_dir)
    with open(path, "a+", encoding="ascii") as file:
        # Held for the moment of writing only: a forked game must not inherit a claim.
        fcntl.flock(file, fcntl.LOCK_EX)
        other = running(data_dir)
        if other is not None:
            raise StateConflict(
                f"an Innkeeper (process {other.pid}) runs on {data_dir} already; "
                f"stop it with: innkeeper down --data-dir {data_dir}"
            )
        ours = identity_of(os.getpid())
        assert ours is not None
        file.truncate(0)
        file.write(f"{ours.pid} {ours.start_ticks}\n")
        file.flush()
    try:
        yield
    finally:
        # The file itself stays: removing it would race with a start that waits for its lock.
        with open(path, "w", encoding="ascii"):
            pass


@contextlib.contextmanager
def sole_down(data_dir: Path) -> Iterator[None]:
    """Be the only one that stops what runs on ``data_dir``; waits for another that does."""
    with open(data_dir / "down.lock", "a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stop(data_dir: Path, grace_s: float, kill_wait_s: float = 5.0) -> bool:
    """End the control plane: SIGTERM, ``grace_s`` seconds, SIGKILL. Whether there was one.

    Raises :class:`StateConflict` when it is still there after the kill.
    """
    found = running(data_dir)
    if found is None:
        return False
    try:
        handle = os.pidfd_open(found.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle may be of a successor with the same number; its start time tells.
        if identity_of(found.pid) != found:
            return False
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, kill_wait_s)):
            _signal(handle, number, found)
            # A process handle becomes readable when its process ends.
            if select.select([handle], [], [], wait_s)[0]:
                return True
        raise StateConflict(f"process {found.pid} cannot be stopped: the kernel is busy with it")
    finally:
        os.close(handle)


def _signal(handle: int, number: signal.Signals, found: Identity) -> None:
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return
    except PermissionError:
        raise StateConflict(
            f"process {found.pid} belongs to another user: stop it as that user, or as root"
        ) from None
