"""The small parent of one game: starts it, waits for it, and writes down how it ended.

It is forked from the zygote and needs no control plane. Two facts make it safe to ask twice: it
holds a lock for as long as it lives, and ``start.json`` (pid, start time, boot) stands on disk
before the game's first instruction, because the fork waits for a byte that is sent only then.
It begins as a spare: forked ahead, with the fork that will become the game, in its control group.
"""

import errno
import fcntl
import gc
import json
import os
import select
import signal
import socket
import time
from functools import partial
from typing import Any, NoReturn

from innkeeper.runtime import confine, places, proc_table
from innkeeper.runtime.cgroups import Group

_KILL_S = 5.0  # how long the rest of a session is chased before the end is recorded regardless
_REQUEST_MAX = 200
_REMOVE_TRIES = 100
_RECORD_TRIES = 600


def lock(directory: str, process_id: str) -> int | None:
    """The lock that tells a living supervisor; ``None`` where one holds it.

    Raises ``FileNotFoundError``.
    """
    path = f"{places.process_dir(directory, process_id)}/lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


class Supervisor:
    """One supervisor, in its own fork. ``alive_fd`` reads end of file when the zygote is gone;
    ``used_fd`` tells the zygote that a spare was used up. ``version``: of the control groups."""

    def __init__(
        self,
        directory: str,
        listener: socket.socket,
        alive_fd: int,
        used_fd: int,
        version: str | None,
    ) -> None:
        self._directory = directory
        self._listener = listener
        self._alive_fd = alive_fd
        self._used_fd = used_fd
        self._group: Group | None = None
        if version is not None:
            own = proc_table.start_ticks(os.getpid())
            self._group = Group(version, f"{places.GROUPS}/{os.getpid()}-{own}")

    def run(self) -> None:
        """Its whole life: wait for a request, start the game, wait for its end."""
        os.setsid()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gc.disable()
        confine.name_process("inn-spare")
        confine.adopt_orphans()
        if self._group is not None:
            self._group.make()
        game = _Fork(self._group)
        process_id = self._start_one(game)
        if process_id is None:
            game.discard()
        else:
            confine.name_process(f"inn-{process_id[:8]}")
            self._wait(process_id, game.pid)
        if self._group is not None:
            _remove_group(self._group)
        if process_id is not None:
            places.hint(self._directory, process_id)

    def _start_one(self, game: "_Fork") -> str | None:
        """Serve requests until one uses the fork up: the id of the process, if it was started."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._alive_fd, select.POLLIN)
        self._listener.setblocking(False)
        while True:
            if self._alive_fd in [fd for fd, _ in poll.poll()]:
                return None
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                continue  # another spare took it
            with connection:
                started = self._request(connection, game)
            if game.used:
                # Only now may the zygote make another: forks and groups get into one another's way.
                try:
                    os.write(self._used_fd, b"!")
                except BrokenPipeError:
                    pass  # the zygote is gone, and whoever follows it makes spares of its own
                for fd in (self._alive_fd, self._used_fd):
                    os.close(fd)
                self._listener.close()
                return started

    def _request(self, connection: socket.socket, game: "_Fork") -> str | None:
        if not places.same_user(connection):
            return None
        try:
            word, _, process_id = connection.recv(_REQUEST_MAX).decode("ascii").partition(" ")
        except (ConnectionResetError, UnicodeDecodeError):
            return None
        if word != "start" or "/" in process_id:
            return None
        try:
            held = lock(self._directory, process_id)
        except FileNotFoundError:
            _answer(connection, {"failed": "removed", "errno": 0})
            return None
        if held is None:
            _answer(connection, {"again": True})
            return None
        started = places.read_json(places.start_path(self._directory, process_id))
        spec = places.read_json(places.spec_path(self._directory, process_id))
        if started is not None:
            # By a supervisor that is gone: a process is never started twice.
            _answer(connection, {"booted_at": started["booted_at"]})
        elif spec is None:
            _answer(connection, {"failed": "removed", "errno": 0})
        else:
            answer = self._start(spec, game)
            if "booted_at" in answer:
                _answer(connection, answer)
                return process_id
            os.close(held)  # first, so that who asks again at once finds nobody at work
            _answer(connection, answer)
            return None
        os.close(held)
        return None

    def _start(self, spec: dict[str, Any], game: "_Fork") -> dict[str, Any]:
        """Hand the fork its specification, record it, let it go; the answer to the caller."""
        process_id = spec["process_id"]
        try:
            if self._group is not None:
                self._group.limit(spec["memory_mb"], spec["cpu_millis"])
        except OSError as error:
            return {"failed": "limits", "errno": error.errno}
        spec["log"] = places.log_path(self._directory, process_id)
        game.prepare(spec)
        booted_at = time.time_ns() // 1_000_000
        record = {
            "pid": game.pid,
            "start_ticks": game.start_ticks,
            "boot_id": proc_table.boot_id(),
            "supervisor": os.getpid(),
            "group": None if self._group is None else [self._group.version, self._group.name],
            "booted_at": booted_at,
        }
        path = places.start_path(self._directory, process_id)
        places.write_json(path, record)
        failed = game.go()
        if failed is None:
            return {"booted_at": booted_at}
        os.unlink(path)
        return failed

    def _wait(self, process_id: str, pid: int) -> None:
        """Until the first process ends; then end what it left behind, and record."""
        # Not reaped yet: its pid, which is also its session's number, stays taken while the rest
        # is killed.
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)) and ended.si_pid != pid:
            os.waitpid(ended.si_pid, 0)  # an orphan that was left to us
        at = time.time_ns() // 1_000_000
        out_of_memory = self._group is not None and self._group.oom_kills() > 0
        kill_family(pid, proc_table.start_ticks(pid), os.getpid(), self._group)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        record = {
            "code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "oom": out_of_memory and code != 0,
            "at": at,
        }
        path = places.exit_path(self._directory, process_id)
        for tries_left in reversed(range(_RECORD_TRIES)):
            try:
                places.write_json(path, record, durable=True, keep_old=True)
                return
            except OSError as error:  # a full disk may have room again in a while
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not tries_left:
                    raise
            time.sleep(1.0)


class _Fork:
    """The fork that becomes the game: it waits, first for its specification, then for the go."""

    def __init__(self, group: Group | None) -> None:
        self.used = False
        spec_read, self._spec = os.pipe()
        go_read, self._go = os.pipe()
        self._told, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for fd in (self._spec, self._go, self._told):
                os.close(fd)
            _become_game(group, spec_read, go_read, told)
        for fd in (spec_read, go_read, told):
            os.close(fd)
        self.start_ticks = proc_table.start_ticks(self.pid)

    def prepare(self, spec: dict[str, Any]) -> None:
        """Send the specification; the fork confines itself meanwhile."""
        self.used = True
        data = memoryview(json.dumps(spec).encode())
        try:
            while data:
                data = data[os.write(self._spec, data) :]
        except BrokenPipeError:
            pass  # it failed already, and tells why in go()
        os.close(self._spec)

    def go(self) -> dict[str, Any] | None:
        """Let it become the game. ``None``, or what failed: ``failed`` (the stage) and ``errno``."""
        try:
            os.write(self._go, b"!")
        except BrokenPipeError:
            pass  # it failed already, and has told why
        os.close(self._go)
        told = os.read(self._told, 200).decode()
        os.close(self._told)
        if not told:
            return None
        os.waitpid(self.pid, 0)
        stage, _, number = told.partition(" ")
        return {"failed": stage, "errno": int(number)}

    def discard(self) -> None:
        """End it, unless it has ended."""
        if not self.used:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _become_game(group: Group | None, spec_fd: int, go_fd: int, told_fd: int) -> NoReturn:
    """In the fork. ``told_fd`` closes by itself when the program takes over."""
    stage = "group"
    try:
        if group is not None:
            group.join()
        stage = "confine"
        confine.prepare_game()
        with open(spec_fd, "rb") as file:
            data = file.read()
        if not data:
            os._exit(127)  # the supervisor was not needed
        spec = json.loads(data)
        confine.become_game(spec)
        stage = "exec"
        if os.read(go_fd, 1) == b"!":
            os.execve(spec["exe"], spec["argv"], spec["env"])
        # End of file: the supervisor died before it could record us.
    except OSError as error:
        os.write(told_fd, f"{stage} {error.errno or 0}".encode())
    finally:
        os._exit(127)


def _remove_group(group: Group) -> None:
    """Once all who were in it are reaped; a zygote that starts later removes what stays."""
    for _ in range(_REMOVE_TRIES):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            pass  # none left
        if group.remove():
            return
        time.sleep(0.002)


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
