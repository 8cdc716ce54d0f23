"""``python -m innkeeper.runtime.zygote DIR LOG_BYTES_MAX``: forks supervisors on request, and
bounds the logs.

It stays when the control plane is killed, and games stay when it is killed itself. A small
interpreter that has all modules loaded forks in well under a millisecond, and shares nearly all its
memory with its forks. Requests are single packets on ``zygote.sock``: ``hello``, ``start <process
id>``, ``stop``.
"""

import fcntl
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback

from innkeeper.runtime import confine, places
from innkeeper.runtime.supervisor import supervise

VERSION = 1  # of the requests and files; a control plane that knows another one starts a zygote of its own
_REQUEST_MAX = 200
_BACKLOG = 512
_LOG_ROUND_S, _LOG_ROUND_BUSY_S = 1.0, 0.05
_PAGE = 4096


def main(arguments: list[str]) -> int:
    """Serve until told to stop. Returns at once, with 0, in the process that was started: the
    server is its fork.
    """
    directory, log_bytes_max = arguments[0], int(arguments[1])
    lock_fd = os.open(f"{directory}/zygote.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # another one serves already
    os.umask(0o077)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with places.socket_address(directory, "zygote.sock") as address:
        if os.path.lexists(address):
            os.unlink(address)
        listener.bind(address)
    ready_read, ready_write = os.pipe()
    if os.fork():
        os.close(ready_write)
        return 0 if os.read(ready_read, 1) else 1
    listener.listen(_BACKLOG)  # in the fork, so that the kernel names its pid to those who connect
    os.write(ready_write, b"!")
    os.close(ready_write)
    os.close(ready_read)
    os.setsid()
    confine.name_process("inn-zygote")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody needs the supervisors' own exit status
    gc.collect()
    gc.freeze()
    _Zygote(directory, log_bytes_max, listener, lock_fd).serve()
    return 0


class _Zygote:
    def __init__(
        self, directory: str, log_bytes_max: int, listener: socket.socket, lock_fd: int
    ) -> None:
        self._directory = directory
        self._logs = LogBound(directory, log_bytes_max)
        self._hello = f"{VERSION} {log_bytes_max}".encode()
        self._listener = listener
        self._lock_fd = lock_fd
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._connections: dict[int, socket.socket] = {}
        self._stopping = False

    def serve(self) -> None:
        while not self._stopping:
            ready = self._poll.poll(self._logs.wait_s() * 1000)
            for fd, _events in ready:
                if fd == self._listener.fileno():
                    self._accept()
                else:
                    self._request(self._connections.pop(fd))
            self._logs.round()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _pid, uid, _gid = struct.unpack("3i", credentials)
        if uid != os.geteuid():
            connection.close()
            return
        self._connections[connection.fileno()] = connection
        self._poll.register(connection, select.POLLIN)

    def _request(self, connection: socket.socket) -> None:
        self._poll.unregister(connection)
        with connection:
            try:
                words = connection.recv(_REQUEST_MAX).decode("ascii").split(" ")
            except (ConnectionResetError, UnicodeDecodeError):
                return
            if words == ["hello"]:
                self._say(connection, self._hello)
            elif words == ["stop"]:
                self._stopping = True
                self._say(connection, b"stopping")
            elif words[0] == "start" and len(words) == 2 and "/" not in words[1]:
                self._start(connection, words[1])

    def _say(self, connection: socket.socket, text: bytes) -> None:
        try:
            connection.send(text, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            return

    def _start(self, connection: socket.socket, process_id: str) -> None:
        if os.fork():
            return
        try:
            # The lock and the sockets are the zygote's alone: a supervisor outlives it.
            os.close(self._lock_fd)
            self._listener.close()
            for other in self._connections.values():
                other.close()
            supervise(connection, self._directory, process_id)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a fork must never return into the zygote's loop
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)


class LogBound:
    """Keeps each log within ``bytes_max`` on disk: gives back the oldest part, a quarter at a time."""

    def __init__(self, directory: str, bytes_max: int) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._sizes: dict[str, int] = {}
        self._busy = False
        self._next = 0.0

    def wait_s(self) -> float:
        """How long until the next round, at the most."""
        return _LOG_ROUND_BUSY_S if self._busy else _LOG_ROUND_S

    def round(self) -> None:
        """Look at every log; at most once in the waiting time."""
        now = time.monotonic()
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


def bound_log(path: str, keep: int) -> None:
    """Give back the disk space of all but the last ``keep`` bytes; readers see a hole at the head.

    Where the file system cannot punch holes, all is dropped at once: the file becomes empty.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        length = (os.fstat(fd).st_size - keep) // _PAGE * _PAGE
        try:
            confine.punch_hole(fd, length)
        except OSError:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
