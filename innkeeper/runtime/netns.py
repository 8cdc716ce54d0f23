"""Socket tables of other network namespaces: a netlink socket opened inside, and kept.

A namespace is a property of a thread, so a short-lived thread enters it and opens the socket there.
The socket keeps the namespace alive: it is closed as soon as its process is gone.
"""

import ctypes
import os
import socket
import threading
from collections import OrderedDict
from dataclasses import dataclass

from innkeeper.runtime.sock_diag import SockDiag, open_socket

_CLONE_NEWNET = 0x40000000
_OPEN_MAX = 2048  # descriptors; the server's own limit may be near 20,000
_libc = ctypes.CDLL(None, use_errno=True)


def open_inside(pid: int) -> socket.socket:
    """A socket for :class:`SockDiag` in the network namespace of ``pid``. About 0.1 ms.

    Raises ``OSError``: ``pid`` is gone, or we may not enter.
    """
    outcome: list[socket.socket | OSError] = []

    def enter() -> None:
        try:
            descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(descriptor, _CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
                outcome.append(open_socket())
            finally:
                os.close(descriptor)
        except OSError as error:
            outcome.append(error)

    # The thread ends inside the other namespace; nothing else ever runs in it.
    thread = threading.Thread(target=enter, name=f"enter-netns-{pid}")
    thread.start()
    thread.join()
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


@dataclass(frozen=True, slots=True)
class NetSpace:
    """Where a process's sockets are: a pid inside its namespace, and the address traffic comes to."""

    pid: int
    address: str


class NetSpaces:
    """The namespaces of running processes by process id, with a bounded number of sockets kept open."""

    def __init__(self, open_max: int = _OPEN_MAX) -> None:
        self._open_max = open_max
        self._spaces: dict[str, NetSpace] = {}
        self._open: OrderedDict[str, SockDiag] = OrderedDict()

    def process_ids(self) -> frozenset[str]:
        """The processes whose place is known."""
        return frozenset(self._spaces)

    def add(self, process_id: str, space: NetSpace) -> None:
        """Remember where a process's sockets are; a changed place drops what was open."""
        if self._spaces.get(process_id) != space:
            self.drop(process_id)
            self._spaces[process_id] = space

    def get(self, process_id: str) -> NetSpace | None:
        """Where a process's sockets are, if known."""
        return self._spaces.get(process_id)

    def diag(self, process_id: str) -> SockDiag | None:
        """The socket tables of a process; ``None`` where it is unknown or gone."""
        diag = self._open.get(process_id)
        if diag is not None:
            self._open.move_to_end(process_id)
            return diag
        space = self._spaces.get(process_id)
        if space is None:
            return None
        try:
            diag = SockDiag(open_inside(space.pid))
        except (FileNotFoundError, ProcessLookupError):
            return None
        self._open[process_id] = diag
        if len(self._open) > self._open_max:
            self._open.popitem(last=False)[1].close()
        return diag

    def drop(self, process_id: str) -> None:
        """Let go of a process's namespace; nothing where it is unknown."""
        self._spaces.pop(process_id, None)
        diag = self._open.pop(process_id, None)
        if diag is not None:
            diag.close()

    def close(self) -> None:
        """Let go of all."""
        for process_id in list(self._spaces):
            self.drop(process_id)
