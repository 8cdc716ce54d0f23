"""The small decisions of the wiring."""

import socket
from pathlib import Path

import pytest

from innkeeper.config import Settings
from innkeeper.core.errors import Invalid
from innkeeper.wiring.control_plane import public_ip
from innkeeper.wiring.last_run import LastRun, last_run
from innkeeper.wiring.listening import bind_api, bind_gateway, bind_ping
from innkeeper.wiring.runtimes import player_address


def settings(**flags: str) -> Settings:
    return Settings.load({"listen": "127.0.0.1:0", **flags}, {})


def test_port_0_lets_the_kernel_choose() -> None:
    listening = bind_api(settings())
    with listening.socket:
        assert listening.port > 0
        assert listening.local_url(settings()) == f"http://127.0.0.1:{listening.port}"


def test_an_address_in_use_is_told_with_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(
            Invalid, match=r"cannot be bound .* stop what has it, or choose another"
        ):
            bind_api(settings(listen=f"127.0.0.1:{taken}"))


def test_a_gateway_gets_a_socket_of_its_own_before_it_exists() -> None:
    listening = bind_api(settings())
    with listening.socket:
        # An address that no interface has yet: documentation range.
        extra = bind_gateway("192.0.2.77", listening)
        assert [s.getsockname() for s in extra] == [("192.0.2.77", listening.port)]
        for one in extra:
            one.close()


def test_a_wildcard_serves_the_gateway_too() -> None:
    listening = bind_api(settings(listen="0.0.0.0:0"))
    with listening.socket:
        assert bind_gateway("192.0.2.77", listening) == []
        assert listening.local_url(settings()).startswith("http://127.0.0.1:")


def test_players_reach_loopback_or_the_primary_address() -> None:
    assert player_address("localhost") == "127.0.0.1"
    assert player_address("::1") == "::1"
    # Not an address of this machine: players come through a router.
    assert player_address("192.0.2.9") != "192.0.2.9"
    assert public_ip("192.0.2.9") == "192.0.2.9"


def test_the_last_run_is_kept_whole(tmp_path: Path) -> None:
    assert last_run(tmp_path) is None
    kept = LastRun("container", "sqlite:///x.db", None)
    kept.keep(tmp_path)
    assert last_run(tmp_path) == kept
    (tmp_path / "last-run.json").write_text("{")
    with pytest.raises(Invalid, match="damaged"):
        last_run(tmp_path)


def test_pings_come_to_the_apis_port_where_it_is_free() -> None:
    listening = bind_api(settings())
    with listening.socket:
        pinged = bind_ping(settings(), listening)
        assert pinged is not None
        with pinged:
            assert pinged.getsockname() == ("127.0.0.1", listening.port)
            assert bind_ping(settings(), listening) is None
            assert bind_ping(settings(ping_udp_port="off"), listening) is None
            taken = settings(ping_udp_port=str(listening.port))
            with pytest.raises(Invalid, match=r"--ping-udp-port \d+ cannot be bound .* another"):
                bind_ping(taken, listening)
