"""Which control planes run on a data directory, and how they are stopped.

The file ``control-plane.pid`` has a line for each: the pid and the start time of its process, which together
name one process for ever, so that a number which the kernel has given to another program is never signalled;
and ``shared`` where it lets others run beside it.
"""

import contextlib
import fcntl
import os
import re
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from innkeeper.core.errors import Invalid, StateConflict

_LINE = re.compile(r"([0-9]{1,10}) ([0-9]{1,20})( shared)?", re.ASCII)


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


def running(data_dir: Path) -> list[Identity]:
    """The control planes that run on ``data_dir``."""
    return [line.identity for line in _alive(data_dir)]


@dataclass(frozen=True, slots=True)
class _Line:
    """One control plane in the file."""

    identity: Identity
    shared: bool

    def text(self) -> str:
        """As it stands there."""
        shared = " shared" if self.shared else ""
        return f"{self.identity.pid} {self.identity.start_ticks}{shared}\n"


def _alive(data_dir: Path) -> list[_Line]:
    try:
        text = pid_path(data_dir).read_text("ascii", "replace")
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            recorded = Identity(int(match[1]), int(match[2]))
            if identity_of(recorded.pid) == recorded:
                found.append(_Line(recorded, match[3] is not None))
    return found


@contextlib.contextmanager
def claimed(data_dir: Path, shared: bool = False) -> Iterator[bool]:
    """Hold ``data_dir`` for this process; ``shared``: others may run on it too. Gives whether any do.

    Raises :class:`StateConflict` when another one has it and one of the two does not share,
    :class:`Invalid` where it cannot be used.
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
    pid = os.getpid()
    ours = identity_of(pid)
    assert ours is not None
    with _changed(data_dir) as alive:
        refusing = [line for line in alive if not (shared and line.shared)]
        if refusing:
            raise StateConflict(
                f"an Innkeeper (process {refusing[0].identity.pid}) runs on {data_dir} already; "
                f"stop it with: innkeeper down --data-dir {data_dir}"
            )
        others = bool(alive)
        alive.append(_Line(ours, shared))
    try:
        yield others
    finally:
        with _changed(data_dir) as alive:
            alive[:] = [line for line in alive if line.identity != ours]


@contextlib.contextmanager
def _changed(data_dir: Path) -> Iterator[list[_Line]]:
    """The living ones; what the caller leaves of them is written down. Nobody else changes them meanwhile."""
    handle = os.open(pid_path(data_dir), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # Held for the moment of writing only: a forked game must not inherit a claim. The file itself
        # stays: removing it would race with a start that waits for its lock.
        fcntl.flock(handle, fcntl.LOCK_EX)
        lines = _alive(data_dir)
        yield lines
        text = "".join(line.text() for line in lines).encode()
        os.pwrite(handle, text, 0)  # then cut: killed in between, no living one's line is lost
        os.ftruncate(handle, len(text))
    finally:
        os.close(handle)


@contextlib.contextmanager
def sole_down(data_dir: Path) -> Iterator[None]:
    """Be the only one that stops what runs on ``data_dir``; waits for another that does."""
    with open(data_dir / "down.lock", "a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stop(data_dir: Path, grace_s: float, kill_wait_s: float = 5.0) -> int:
    """End every control plane: SIGTERM to all, ``grace_s`` seconds, SIGKILL. How many there were.

    Raises :class:`StateConflict` when one is still there after the kill.
    """
    with contextlib.ExitStack() as closing:
        handles = {}
        for found in running(data_dir):
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(found.pid)
                closing.callback(os.close, handle)
                # The handle may be of a successor with the same number; its start time tells.
                if identity_of(found.pid) == found:
                    handles[handle] = found
        left = dict(handles)
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, kill_wait_s)):
            for handle, found in left.items():
                _signal(handle, number, found)
            _wait(left, wait_s)
        for found in left.values():
            raise StateConflict(
                f"process {found.pid} cannot be stopped: the kernel is busy with it"
            )
    return len(handles)


def _wait(left: dict[int, Identity], wait_s: float) -> None:
    """Take those out that have ended, for ``wait_s`` seconds at the most."""
    until = time.monotonic() + wait_s
    while left:
        # A process handle becomes readable when its process ends.
        ended = select.select(list(left), [], [], max(0.0, until - time.monotonic()))[0]
        if not ended:
            return
        for handle in ended:
            del left[handle]


def _signal(handle: int, number: signal.Signals, found: Identity) -> None:
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return
    except PermissionError:
        raise StateConflict(
            f"process {found.pid} belongs to another user: stop it as that user, or as root"
        ) from None
