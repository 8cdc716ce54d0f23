"""UDP flows through published ports, from the kernel's connection tracking (``ctnetlink``).

One dump answers for all processes, and is used again for a while: it costs about 10 us a flow.
"""

import errno
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_NETLINK_NETFILTER = 12
_CT_NEW, _CT_GET, _CT_DELETE = 0x100, 0x101, 0x102
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_TUPLE_ORIGINAL, _TUPLE_REPLY, _STATUS, _TIMEOUT = 1, 2, 3, 7
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_NESTED = 0x8000
_STATUS_ASSURED, _STATUS_DNAT = 1 << 2, 1 << 5
_HEADER = struct.Struct("=LHHLL")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER = 64 * 1024
_SEEN_WITHIN_S = 60  # a UDP "connection" is a flow seen in the last 60 s (behaviour.md 4.3)
_FRESH_S = 1.0
_TIMEOUTS = Path("/proc/sys/net/netfilter")


@dataclass(frozen=True, slots=True)
class Flow:
    """One translated UDP flow: the process's end, seconds until the kernel forgets it, and its raw tuple."""

    address: str
    port: int
    assured: bool
    remaining_s: int
    original: bytes


class Flows:
    """Counts of UDP flows by the process's private address and port."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._counts: Counter[tuple[str, int]] | None = None
        self._read_at = float("-inf")

    def udp(self, address: str, port: int) -> int | None:
        """How many flows were seen in the last minute; ``None`` where the kernel does not tell."""
        now = self._monotonic()
        if now - self._read_at >= _FRESH_S:
            self._read_at = now
            self._counts = _recent()
        return None if self._counts is None else self._counts[address, port]


def _recent() -> Counter[tuple[str, int]] | None:
    limits = _timeouts()
    if limits is None:
        return None
    try:
        return Counter(
            (flow.address, flow.port)
            for flow in udp_flows()
            if limits[flow.assured] - flow.remaining_s < _SEEN_WITHIN_S
        )
    except PermissionError:
        return None


def _timeouts() -> tuple[int, int] | None:
    """How long the kernel keeps a UDP flow, unassured and assured, in seconds."""
    try:
        unassured, assured = (
            int((_TIMEOUTS / name).read_text("ascii"))
            for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream")
        )
    except FileNotFoundError:
        return None  # nothing on this machine tracks connections
    return unassured, assured


def udp_flows() -> Iterator[Flow]:
    """The UDP flows over IPv4 with a translated destination. Raises ``OSError``."""
    with _open() as sock:
        body = struct.pack("=BBH", socket.AF_INET, 0, 0)
        sock.send(_message(_CT_GET, _NLM_F_REQUEST | _NLM_F_DUMP, body))
        while True:
            for kind, message in _messages(sock.recv(_BUFFER)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    _raise(message)
                flow = _flow(message[_HEADER.size + 4 :]) if kind == _CT_NEW else None
                if flow is not None:
                    yield flow


def forget_flows(address: str) -> int:
    """Delete the flows to a process that is gone, so that its host port's next owner gets its players.

    How many there were; none where the kernel tracks nothing or does not tell us. Blocks.
    """
    if _timeouts() is None:
        return 0
    try:
        flows = [flow for flow in udp_flows() if flow.address == address]
    except PermissionError:
        return 0
    with _open() as sock:
        for flow in flows:
            attribute = _ATTRIBUTE.pack(4 + len(flow.original), _TUPLE_ORIGINAL | _NESTED)
            body = struct.pack("=BBH", socket.AF_INET, 0, 0) + attribute + flow.original
            sock.send(_message(_CT_DELETE, _NLM_F_REQUEST | _NLM_F_ACK, body))
            for kind, message in _messages(sock.recv(_BUFFER)):
                if kind == _NLMSG_ERROR:
                    _raise(message)
    return len(flows)


def _open() -> socket.socket:
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 1, 0))
    return sock


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind = struct.unpack_from("=LH", data, at)
        if length < _HEADER.size:
            raise OSError(errno.EBADMSG, "netlink message is cut short")
        yield kind, data[at : at + length]
        at += (length + 3) & ~3


def _raise(message: bytes) -> None:
    code = -struct.unpack_from("=i", message, _HEADER.size)[0]
    if code and code != errno.ENOENT:  # 0 is an acknowledgement; a flow may go by itself
        raise OSError(code, os.strerror(code))


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def _flow(data: bytes) -> Flow | None:
    parts = _attributes(data)
    status = int.from_bytes(parts.get(_STATUS, b""), "big")
    if not status & _STATUS_DNAT or _TUPLE_REPLY not in parts or _TUPLE_ORIGINAL not in parts:
        return None
    reply = _attributes(parts[_TUPLE_REPLY])
    ends, protocol = _attributes(reply[_TUPLE_IP]), _attributes(reply[_TUPLE_PROTO])
    if protocol.get(1) != bytes([socket.IPPROTO_UDP]) or 1 not in ends:
        return None
    return Flow(
        address=socket.inet_ntop(socket.AF_INET, ends[1]),
        port=int.from_bytes(protocol[2], "big"),
        assured=bool(status & _STATUS_ASSURED),
        remaining_s=int.from_bytes(parts.get(_TIMEOUT, b""), "big"),
        original=parts[_TUPLE_ORIGINAL],
    )
