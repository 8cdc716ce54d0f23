"""``python -m innkeeper.runtime.zygote DIR LOG_BYTES_MAX``: keeps spare supervisors, bounds logs.

It stays when the control plane is killed, and games stay when it is killed itself. A small
interpreter that has all modules loaded forks in well under a millisecond, and shares nearly all its
memory with its forks. Requests to start go to the spares, on ``start.sock``; those to the zygote
itself are single packets on ``zygote.sock``: ``hello`` and ``stop``.
"""

import fcntl
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback

from innkeeper.runtime import cgroups, confine, places, proc_table
from innkeeper.runtime.log_bound import bound_log
from innkeeper.runtime.supervisor import Supervisor

# Of the requests and files; a control plane that knows another one starts a zygote of its own.
VERSION = 2
_REQUEST_MAX = 200
_BACKLOG = 1024
_SPARES = 3
_LOG_ROUND_S, _LOG_ROUND_BUSY_S = 1.0, 0.05


def main(arguments: list[str]) -> int:
    """Serve until told to stop. Returns at once in the process that was started: the server is its
    fork, and already takes requests then."""
    directory, log_bytes_max = arguments[0], int(arguments[1])
    lock_fd = os.open(f"{directory}/zygote.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # another one serves already
    os.umask(0o077)
    ready_read, ready_write = os.pipe()
    if os.fork():
        os.close(ready_write)
        return 0 if os.read(ready_read, 1) else 1
    os.close(ready_read)
    os.setsid()
    confine.name_process("inn-zygote")
    # In the fork, so that the kernel names its pid to those who connect.
    zygote = Zygote(directory, log_bytes_max, lock_fd)
    os.write(ready_write, b"!")
    os.close(ready_write)
    zygote.serve()
    return 0


class Zygote:
    """The server. Holds ``lock_fd`` for as long as it lives."""

    def __init__(self, directory: str, log_bytes_max: int, lock_fd: int) -> None:
        self._directory = directory
        self._logs = LogBound(directory, log_bytes_max)
        self._hello = f"{VERSION} {log_bytes_max}".encode()
        self._lock_fd = lock_fd
        self._version = cgroups.layout() if os.geteuid() == 0 else None
        if self._version is not None:
            cgroups.remove_dead(self._version, places.GROUPS)
        proc_table.boot_id()  # read once, for all forks
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody needs the supervisors' own status
        self._starts = _listener(directory, "start.sock")
        self._listener = _listener(directory, "zygote.sock")
        self._alive_read, self._alive_write = os.pipe()
        self._used_read, self._used_write = os.pipe()
        self._poll = select.poll()
        for fd in (self._listener.fileno(), self._used_read):
            self._poll.register(fd, select.POLLIN)
        self._connections: dict[int, socket.socket] = {}
        self._stopping = False
        gc.collect()
        gc.freeze()
        for _ in range(_SPARES):
            self._fork_spare()

    def serve(self) -> None:
        """Until told to stop; the spares then end by themselves."""
        while not self._stopping:
            for fd, _events in self._poll.poll(self._logs.wait_s() * 1000):
                if fd == self._listener.fileno():
                    self._accept()
                elif fd == self._used_read:
                    for _ in os.read(self._used_read, _SPARES):
                        self._fork_spare()
                else:
                    self._request(self._connections.pop(fd))
            self._logs.round()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        if not places.same_user(connection):
            connection.close()
            return
        self._connections[connection.fileno()] = connection
        self._poll.register(connection, select.POLLIN)

    def _request(self, connection: socket.socket) -> None:
        self._poll.unregister(connection)
        with connection:
            try:
                request = connection.recv(_REQUEST_MAX)
                if request == b"stop":
                    self._stopping = True
                connection.send(self._hello, socket.MSG_NOSIGNAL)
            except (BrokenPipeError, ConnectionResetError):
                return

    def _fork_spare(self) -> None:
        if os.fork():
            return
        try:
            # A spare outlives us only with a game, and then holds nothing that is ours.
            for fd in (self._lock_fd, self._alive_write, self._used_read):
                os.close(fd)
            self._listener.close()
            for other in self._connections.values():
                other.close()
            Supervisor(
                self._directory, self._starts, self._alive_read, self._used_write, self._version
            ).run()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a fork must never return into the zygote's loop
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)


def _listener(directory: str, name: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with places.socket_address(directory, name) as address:
        if os.path.lexists(address):
            os.unlink(address)
        listener.bind(address)
    listener.listen(_BACKLOG)
    return listener


class LogBound:
    """Keeps each log within ``bytes_max`` on disk: gives back the oldest part, a quarter at a time."""

    def __init__(self, directory: str, bytes_max: int) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._sizes: dict[str, int] = {}
        self._busy = False
        self._next = 0.0
        self.monotonic = time.monotonic

    def wait_s(self) -> float:
        """How long until the next round, at the most."""
        return _LOG_ROUND_BUSY_S if self._busy else _LOG_ROUND_S

    def round(self) -> None:
        """Look at every log; at most once in the waiting time."""
        now = self.monotonic()
        if now < self._next:
            return
        sizes: dict[str, int] = {}
        self._busy = False
        for process_id in os.listdir(f"{self._directory}/processes"):
            path = places.log_path(self._directory, process_id)
            try:
                found = os.stat(path)
            except FileNotFoundError:
                continue
            sizes[process_id] = found.st_size
            grown = found.st_size - self._sizes.get(process_id, 0)
            self._busy |= grown > self._bytes_max // 50
            if found.st_blocks * 512 > self._bytes_max:
                bound_log(path, self._bytes_max * 3 // 4)
        self._sizes = sizes
        self._next = now + self.wait_s()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
