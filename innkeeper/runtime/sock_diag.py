"""The kernel's socket tables through netlink (``NETLINK_SOCK_DIAG``): bound ports, connections.

An exact lookup costs microseconds where reading ``/proc/net`` costs milliseconds. A
:class:`SockDiag` sees the network namespace its socket was made in; ``netns`` makes them elsewhere.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300

_TCP_ESTABLISHED, _TCP_CLOSE, _TCP_LISTEN = 1, 7, 10
_ALL_STATES = 0xFFFFFFFF

_HEADER = struct.Struct("=LHHLL")  # length, type, flags, sequence, port id
_REQUEST = struct.Struct("=BBBBL")  # family, protocol, extensions, padding, states
_SOCKET_ID = struct.Struct("=2s2s16s16sL8s")  # sport, dport, source, destination, interface, cookie
_ANSWER_HEAD = struct.Struct("=BBBB")  # family, state, timer, retransmits
_ANSWER_TAIL = struct.Struct("=LLLLL")  # expires, rqueue, wqueue, uid, inode
_ANY_COOKIE = b"\xff" * 8
_ANY_ADDRESS = b"\x00" * 16
_TAIL_AT = _HEADER.size + _ANSWER_HEAD.size + _SOCKET_ID.size
_BUFFER = 32 * 1024  # what the kernel fills for one read of a dump
_TIMEOUT = struct.pack("ll", 1, 0)  # seconds, microseconds


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound socket: the local ``address`` as text, the owner's uid, the socket's inode."""

    family: int
    address: str
    port: int
    uid: int
    inode: int


def _protocol(name: str) -> int:
    if name == "tcp":
        return socket.IPPROTO_TCP
    if name == "udp":
        return socket.IPPROTO_UDP
    raise ValueError(f"protocol must be tcp or udp, not {name!r}")


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@lru_cache(maxsize=4096)
def _packed(address: str | None) -> bytes:
    if address is None:
        return _ANY_ADDRESS
    return socket.inet_pton(_family(address), address).ljust(16, b"\x00")


class SockDiag:
    """Questions to one network namespace. Not for two threads at once. Raises ``OSError``."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        """``sock`` comes from :func:`open_socket`, called in the namespace to look at."""
        self._socket = sock or open_socket()
        # The kernel's own timeout: Python's would add a poll to each read. Netlink answers at
        # once, so it never strikes.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._sequence = 0

    def close(self) -> None:
        """Let go of the socket, and with it of the namespace."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor held; -1 once closed."""
        return self._socket.fileno()

    def find(self, protocol: str, port: int, addresses: Sequence[str] = ()) -> tuple[Bound, ...]:
        """The sockets that would get traffic to ``port``: TCP listeners, or bound UDP sockets.

        Asks for the wildcard of both address families, and for each of ``addresses`` as well (a
        lookup of an address also finds the wildcard). Microseconds for each question.
        """
        questions: list[tuple[int, str | None]] = [(socket.AF_INET, None), (socket.AF_INET6, None)]
        for address in addresses:
            questions.append((_family(address), address))
        found: dict[int, Bound] = {}
        for family, asked in questions:
            bound = self._lookup(family, _protocol(protocol), port, asked)
            if bound is not None:
                found[bound.inode] = bound
        return tuple(found.values())

    def is_bound(self, protocol: str, port: int, address: str) -> bool:
        """Whether traffic to ``address``:``port`` has a taker, a dual-stack socket included."""
        return self.taker(protocol, port, address) is not None

    def taker(self, protocol: str, port: int, address: str) -> Bound | None:
        """The socket that takes traffic to ``address``:``port``, as the kernel would choose it."""
        return self._lookup(_family(address), _protocol(protocol), port, address)

    def bound(self, protocol: str) -> list[Bound]:
        """Every TCP listener, or every unconnected UDP socket: one walk for many questions."""
        state = _TCP_LISTEN if protocol == "tcp" else _TCP_CLOSE
        found: list[Bound] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            found += self._dump(family, _protocol(protocol), 1 << state, 0)
        return found

    def established(self, port: int) -> int:
        """How many TCP connections to the local ``port`` are established."""
        return sum(
            len(self._dump(family, socket.IPPROTO_TCP, 1 << _TCP_ESTABLISHED, port))
            for family in (socket.AF_INET, socket.AF_INET6)
        )

    def _lookup(self, family: int, protocol: int, port: int, address: str | None) -> Bound | None:
        port_bytes, packed = port.to_bytes(2, "big"), _packed(address)
        if protocol == socket.IPPROTO_UDP:
            # The kernel's UDP lookup takes the local end as the destination.
            identity = (b"\0\0", port_bytes, _ANY_ADDRESS, packed, 0, _ANY_COOKIE)
        else:
            identity = (port_bytes, b"\0\0", packed, _ANY_ADDRESS, 0, _ANY_COOKIE)
        self._send(family, protocol, _ALL_STATES, identity, dump=False)
        for kind, message in self._messages():
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", message, _HEADER.size)[0]
                if code == errno.ENOENT:
                    return None
                raise OSError(code, os.strerror(code))
            if kind == _SOCK_DIAG_BY_FAMILY:
                state = message[_HEADER.size + 1]
                if protocol == socket.IPPROTO_TCP and state != _TCP_LISTEN:
                    return None
                return _read(message)
        raise OSError(errno.EBADMSG, "netlink gave no answer")

    def _dump(self, family: int, protocol: int, states: int, port: int) -> list[Bound]:
        identity = (port.to_bytes(2, "big"), b"\0\0", _ANY_ADDRESS, _ANY_ADDRESS, 0, _ANY_COOKIE)
        self._send(family, protocol, states, identity, dump=True)
        found: list[Bound] = []
        while True:
            for kind, message in self._messages():
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", message, _HEADER.size)[0]
                    raise OSError(code, os.strerror(code))
                if kind == _SOCK_DIAG_BY_FAMILY:
                    found.append(_read(message))

    def _send(
        self, family: int, protocol: int, states: int, identity: tuple[object, ...], dump: bool
    ) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        body = _REQUEST.pack(family, protocol, 0, 0, states) + _SOCKET_ID.pack(*identity)
        flags = _NLM_F_REQUEST | (_NLM_F_DUMP if dump else 0)
        head = _HEADER.pack(
            _HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, flags, self._sequence, 0
        )
        self._socket.send(head + body)

    def _messages(self) -> Iterator[tuple[int, memoryview]]:
        """One datagram's messages that answer the latest question; left-overs are skipped."""
        data = self._view[: self._socket.recv_into(self._buffer)]
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _flags, sequence, _pid = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                raise OSError(errno.EBADMSG, "netlink message is cut short")
            if sequence == self._sequence:
                yield kind, data[at : at + length]
            at += (length + 3) & ~3


def open_socket() -> socket.socket:
    """A socket for :class:`SockDiag` in the calling thread's namespace. Needs no privilege."""
    return socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    )


def _read(message: memoryview) -> Bound:
    family = message[_HEADER.size]
    sport, _dport, source, _dest, _if, _cookie = _SOCKET_ID.unpack_from(
        message, _HEADER.size + _ANSWER_HEAD.size
    )
    _expires, _rqueue, _wqueue, uid, inode = _ANSWER_TAIL.unpack_from(message, _TAIL_AT)
    size = 4 if family == socket.AF_INET else 16
    address = socket.inet_ntop(family, source[:size])
    return Bound(family, address, int.from_bytes(sport, "big"), uid, inode)
