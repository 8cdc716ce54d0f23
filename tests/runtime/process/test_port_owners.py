"""Whether a port counts as bound: only where players' packets would arrive."""

import os
import socket
from contextlib import closing
from datetime import UTC, datetime

import pytest

from innkeeper.interfaces import PortSpec
from innkeeper.runtime import proc_table
from innkeeper.runtime.port_owners import PortOwners
from innkeeper.runtime.started import Started


def this_program() -> Started:
    ticks = proc_table.start_ticks(os.getpid())
    assert ticks is not None
    now = datetime(2030, 1, 1, tzinfo=UTC)
    return Started("p", os.getpid(), ticks, os.getppid(), now, True, None, None, ())


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(("players", "v6only", "bound"), [
    ("127.0.0.1", True, False),
    ("127.0.0.1", False, True),
    ("::1", True, True),
])  # fmt: skip
def test_only_a_socket_that_players_reach_counts(
    protocol: str, players: str, v6only: bool, bound: bool
) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with closing(PortOwners((players,))) as owners, socket.socket(socket.AF_INET6, kind) as game:
        game.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
        game.bind(("::", 0))
        if protocol == "tcp":
            game.listen()
        port = PortSpec("default", 4000, game.getsockname()[1], protocol)
        assert owners.bound(this_program(), (port,)) is bound
