"""The small parent of one game: starts it, waits for it, and writes down how it ended.

It is forked from the zygote and needs no control plane. Two facts make it safe to ask twice: it
holds a lock for as long as it lives, and ``start.json`` (pid, start time, boot) stands on disk
before the game's first instruction, because the fork waits for a byte that is sent only then.
"""

import fcntl
import gc
import json
import os
import signal
import socket
import time
from functools import partial
from typing import Any, NoReturn

from innkeeper.runtime import confine, places, proc_table
from innkeeper.runtime.cgroups import Group

_KILL_S = 5.0  # how long the rest of a session is chased before the end is recorded regardless


def lock(directory: str, process_id: str) -> int | None:
    """The lock that tells a living supervisor; ``None`` where one holds it. Raises
    ``FileNotFoundError``.
    """
    path = f"{places.process_dir(directory, process_id)}/lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def supervise(connection: socket.socket, directory: str, process_id: str) -> None:
    """The whole life of a supervisor, in a fork of the zygote, which ends the fork afterwards."""
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    gc.disable()
    confine.name_process(f"inn-{process_id[:8]}")
    confine.adopt_orphans()
    try:
        held = lock(directory, process_id)
    except FileNotFoundError:
        _answer(connection, {"failed": "removed", "errno": 0})
        return
    if held is None:
        _answer(connection, {"again": True})
    else:
        _start_and_wait(connection, directory, process_id)


def _start_and_wait(connection: socket.socket, directory: str, process_id: str) -> None:
    started = places.read_json(places.start_path(directory, process_id))
    if started is not None:
        # Started earlier, by a supervisor that is gone: it is never started twice.
        _answer(connection, {"booted_at": started["booted_at"]})
        return
    spec = places.read_json(places.spec_path(directory, process_id))
    if spec is None:
        _answer(connection, {"failed": "removed", "errno": 0})
        return
    group = Group(spec["cgroup"], spec["group"]) if spec["cgroup"] else None
    pid = _start(connection, directory, spec, group)
    if pid is None:
        if group is not None:
            group.remove()
        return
    connection.close()
    _wait(directory, process_id, pid, group)


def _start(
    connection: socket.socket, directory: str, spec: dict[str, Any], group: Group | None
) -> int | None:
    """Fork, record, let go; answers the caller. The pid, or ``None`` where it could not be started."""
    process_id = spec["process_id"]
    log_fd = os.open(
        places.log_path(directory, process_id),
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
        0o600,
    )
    try:
        if group is not None:
            group.make(spec["memory_mb"], spec["cpu_millis"])
    except OSError as error:
        _answer(connection, {"failed": "group", "errno": error.errno})
        return None
    go_read, go_write = os.pipe()
    told_read, told_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _game(spec, group, log_fd, (go_read, go_write), told_write)
    os.close(go_read)
    os.close(told_write)
    os.close(log_fd)
    booted_at = time.time_ns() // 1_000_000
    record = {
        "pid": pid,
        "start_ticks": proc_table.start_ticks(pid),
        "boot_id": proc_table.boot_id(),
        "supervisor": os.getpid(),
        "booted_at": booted_at,
    }
    places.write_json(places.start_path(directory, process_id), record)
    try:
        os.write(go_write, b"!")
    except BrokenPipeError:
        pass  # it failed already, and has told why
    os.close(go_write)
    told = os.read(told_read, 200)
    os.close(told_read)
    if not told:
        _answer(connection, {"booted_at": booted_at})
        return pid
    os.waitpid(pid, 0)
    os.unlink(places.start_path(directory, process_id))
    stage, _, number = told.decode().partition(" ")
    _answer(connection, {"failed": stage, "errno": int(number)})
    return None


def _game(
    spec: dict[str, Any], group: Group | None, log_fd: int, go: tuple[int, int], told: int
) -> NoReturn:
    """In the fork: become the game, or tell why not. ``told`` closes by itself when the exec
    succeeds.
    """
    stage = "group"
    try:
        os.close(go[1])
        if group is not None:
            group.join()
        stage = "confine"
        confine.become_game(spec, log_fd)
        stage = "exec"
        if os.read(go[0], 1) == b"!":
            os.execve(spec["exe"], spec["argv"], spec["env"])
        # End of file: the supervisor died before it could record us.
        os._exit(127)
    except OSError as error:
        os.write(told, f"{stage} {error.errno or 0}".encode())
    finally:
        os._exit(127)


def _wait(directory: str, process_id: str, pid: int, group: Group | None) -> None:
    """Until the first process ends; then end what it left behind, and record."""
    # Not reaped yet: its pid, which is also its session's number, stays taken while the rest is
    # killed.
    while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)) and ended.si_pid != pid:
        os.waitpid(ended.si_pid, 0)  # an orphan that was left to us
    at = time.time_ns() // 1_000_000
    out_of_memory = group is not None and group.oom_kills() > 0
    kill_family(pid, proc_table.start_ticks(pid), os.getpid(), group)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    record = {
        "code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "oom": out_of_memory and code != 0,
        "at": at,
    }
    places.write_json(places.exit_path(directory, process_id), record, durable=True, keep_old=True)
    if group is not None:
        group.remove()
    places.hint(directory, process_id)


def kill_family(
    pid: int, ticks: int | None, supervisor_pid: int | None, group: Group | None
) -> bool:
    """SIGKILL all that descends from the process ``pid`` that started at ``ticks``, until nothing
    is left.

    Whether that was so within some seconds. ``supervisor_pid``: the living supervisor, which adopts
    orphans.
    """
    until = time.monotonic() + _KILL_S
    while True:
        if group is not None:
            members = {member: proc_table.start_ticks(member) for member in group.pids()}
        else:
            members = dict(proc_table.family(pid, ticks, supervisor_pid))
        # A zombie is as good as gone: its parent reaps it in its own time.
        living = {m: t for m, t in members.items() if t is not None and proc_table.alive(m, t)}
        if not living:
            return True
        if time.monotonic() >= until:
            return False
        for member, started in living.items():
            proc_table.send_signal(member, signal.SIGKILL, partial(_same, member, started))
        time.sleep(0.001)


def pause(seconds: float) -> None:
    """Wait, in a thread or a process that may."""
    time.sleep(seconds)


def _same(pid: int, ticks: int) -> bool:
    return proc_table.start_ticks(pid) == ticks


def _answer(connection: socket.socket, value: dict[str, Any]) -> None:
    try:
        connection.send(json.dumps(value).encode(), socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError):
        # The control plane was killed meanwhile; what was started is on record.
        return
