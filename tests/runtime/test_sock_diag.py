"""The kernel's socket tables, asked about sockets that the test itself opens."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from innkeeper.runtime.sock_diag import SockDiag


@contextmanager
def bound(
    kind: socket.SocketKind, family: int, address: str, v6only: bool = False, listen: bool = True
) -> Iterator[tuple[socket.socket, int]]:
    with socket.socket(family, kind) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
        sock.bind((address, 0))
        if kind == socket.SOCK_STREAM and listen:
            sock.listen()
        yield sock, sock.getsockname()[1]


@pytest.fixture
def diag() -> Iterator[SockDiag]:
    with closing(SockDiag()) as made:
        yield made


KINDS = [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)]
PLACES = [
    (socket.AF_INET, "0.0.0.0", False),
    (socket.AF_INET, "127.0.0.1", False),
    (socket.AF_INET6, "::", False),
]


@pytest.mark.parametrize(("protocol", "kind"), KINDS)
@pytest.mark.parametrize(("family", "address", "v6only"), PLACES)
def test_a_bound_port_is_seen_where_traffic_would_reach_it(
    diag: SockDiag, protocol: str, kind: socket.SocketKind, family: int, address: str, v6only: bool
) -> None:
    with bound(kind, family, address, v6only) as (sock, port):
        assert diag.is_bound(protocol, port, "127.0.0.1")
        (found,) = diag.find(protocol, port, ["127.0.0.1"])
        assert found.inode == os.fstat(sock.fileno()).st_ino
        assert (found.uid, found.port, found.address) == (os.geteuid(), port, address)
        assert found in diag.bound(protocol)
    assert not diag.is_bound(protocol, port, "127.0.0.1")
    assert diag.find(protocol, port, ["127.0.0.1"]) == ()


@pytest.mark.parametrize(("protocol", "kind"), KINDS)
def test_the_protocols_are_told_apart(
    diag: SockDiag, protocol: str, kind: socket.SocketKind
) -> None:
    other = "udp" if protocol == "tcp" else "tcp"
    with bound(kind, socket.AF_INET, "127.0.0.1") as (_, port):
        inodes = {found.inode for found in diag.find(other, port, ["127.0.0.1"])}
        assert os.fstat(_.fileno()).st_ino not in inodes


@pytest.mark.parametrize(("protocol", "kind"), KINDS)
def test_a_socket_for_ipv6_only_takes_no_ipv4_traffic(
    diag: SockDiag, protocol: str, kind: socket.SocketKind
) -> None:
    with bound(kind, socket.AF_INET6, "::", v6only=True) as (_, port):
        assert not diag.is_bound(protocol, port, "127.0.0.1")
        assert diag.is_bound(protocol, port, "::1")
        assert diag.find(protocol, port)


def test_a_tcp_port_that_does_not_listen_is_not_bound(diag: SockDiag) -> None:
    with bound(socket.SOCK_STREAM, socket.AF_INET, "127.0.0.1", listen=False) as (_, port):
        assert not diag.is_bound("tcp", port, "127.0.0.1")


def test_established_connections_are_counted_for_the_local_port_only(diag: SockDiag) -> None:
    with bound(socket.SOCK_STREAM, socket.AF_INET, "127.0.0.1") as (server, port):
        assert diag.established(port) == 0
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        accepted = [server.accept()[0] for _ in clients]
        assert diag.established(port) == 3
        clients.pop().close()
        accepted.pop(2).close()
        assert diag.established(port) == 2
        for sock in clients + accepted:
            sock.close()


def test_a_dump_of_many_sockets_is_complete(diag: SockDiag) -> None:
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(600)]
    try:
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        seen = {found.inode for found in diag.bound("udp")}
        assert {os.fstat(sock.fileno()).st_ino for sock in socks} <= seen
        # The next question is not answered with what an earlier one left behind.
        assert diag.is_bound("udp", socks[0].getsockname()[1], "127.0.0.1")
    finally:
        for sock in socks:
            sock.close()


def test_an_unknown_protocol_is_refused(diag: SockDiag) -> None:
    with pytest.raises(ValueError, match="tcp or udp"):
        diag.find("tls", 1)
