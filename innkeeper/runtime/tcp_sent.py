"""What each TCP connection of a network namespace has sent, from the kernel (``INET_DIAG_INFO``).

One dump tells of all connections: some microseconds each.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_INET_DIAG_INFO = 2
_EXTENSIONS = 1 << (_INET_DIAG_INFO - 1)
_LISTEN = 10
_STATES = 0xFFF & ~(1 << _LISTEN)
_HEADER = struct.Struct("=LHHLL")
_REQUEST = struct.Struct("=BBBBL48s")
_ANSWER = struct.Struct("=BBBB2s2s16s16sL8sLLLLL")
_ATTRIBUTE = struct.Struct("=HH")
_BYTES_ACKED_AT = 120  # in struct tcp_info, since Linux 4.1
_BUFFER = 64 * 1024


@dataclass(frozen=True, slots=True)
class TcpSent:
    """One connection. ``cookie`` is its own as long as the machine runs; ``inode`` 0: its program has
    closed it. ``bytes_acked``: sent and acknowledged, without headers and repeats.
    """

    cookie: bytes
    local_port: int
    uid: int
    inode: int
    bytes_acked: int


def tcp_sent() -> list[TcpSent]:
    """Every TCP connection of our own namespace. Raises ``OSError``. Blocks."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 1, 0))
        return [
            found for family in (socket.AF_INET, socket.AF_INET6) for found in _dump(sock, family)
        ]


def _dump(sock: socket.socket, family: int) -> Iterator[TcpSent]:
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, _EXTENSIONS, 0, _STATES, b"\0" * 48)
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    sock.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, flags, family, 0) + body)
    while True:
        data, at = sock.recv(_BUFFER), 0
        while at + _HEADER.size <= len(data):
            length, kind, _flags, sequence, _pid = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                raise OSError(errno.EBADMSG, "netlink message is cut short")
            message = data[at + _HEADER.size : at + length]
            at += (length + 3) & ~3
            if sequence != family:
                continue
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", message)[0]
                raise OSError(code, os.strerror(code))
            sent = _read(message)
            if sent is not None:
                yield sent


def _read(message: bytes) -> TcpSent | None:
    """``None`` for what has no counters: a connection that waits for its other end's last word."""
    _f, _s, _t, _r, sport, _dport, _src, _dst, _if, cookie, _e, _rq, _wq, uid, inode = (
        _ANSWER.unpack_from(message)
    )
    at = _ANSWER.size
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            return None
        if kind == _INET_DIAG_INFO and length >= _ATTRIBUTE.size + _BYTES_ACKED_AT + 8:
            start = at + _ATTRIBUTE.size + _BYTES_ACKED_AT
            acked = int.from_bytes(message[start : start + 8], "little")
            return TcpSent(cookie, int.from_bytes(sport, "big"), uid, inode, acked)
        at += (length + 3) & ~3
    return None
