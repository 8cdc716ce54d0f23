"""Settings: flags over variables over defaults, and messages that say what is wrong and what is allowed."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.api import contract
from innkeeper.config import (
    Settings,
    check_machine,
    flag_of,
    misspelt,
    shown_default,
    values,
    variable_of,
)
from innkeeper.config.values import Address, PortRange, unreserved_overlap
from innkeeper.core.errors import Invalid


def load(flags: dict[str, str | None] | None = None, **environ: str) -> Settings:
    return Settings.load(flags or {}, environ)


def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default() -> None:
    assert load().cpu_overcommit == 8
    assert load(INNKEEPER_CPU_OVERCOMMIT="4").cpu_overcommit == 4
    assert load({"cpu_overcommit": "2"}, INNKEEPER_CPU_OVERCOMMIT="4").cpu_overcommit == 2


def test_an_empty_variable_counts_as_absent() -> None:
    assert load(INNKEEPER_LISTEN="").listen == Address("127.0.0.1", 8000)


@pytest.mark.parametrize("each", fields(Settings), ids=lambda each: each.name)
def test_every_field_is_documented_and_its_default_has_a_text(each: object) -> None:
    metadata = each.metadata  # type: ignore[attr-defined]
    assert metadata["doc"].endswith(".")
    assert shown_default(each)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("listen", "8000", "must be HOST:PORT"),
        ("listen", "127.0.0.1:70000", "must be HOST:PORT"),
        ("listen", "::1:8000", "must be HOST:PORT"),
        ("listen", "[localhost]:80", "must be HOST:PORT"),
        ("runtime", "docker", "must be one of auto, container, process"),
        ("public_host", "a b", "must be a host name"),
        ("public_host", "host:80", "must be a host name"),
        ("public_url", "ftp://x", "must be an http:// or https:// URL"),
        ("public_url", "http://x/?q=1", "must be an http:// or https:// URL"),
        ("public_url", "http://x:0", "must be an http:// or https:// URL"),
        ("tls_cert", "/no/such/file", "must be a file that exists"),
        ("trusted_proxies", "10.0.0.1/8", "must be addresses or networks"),
        ("ping_udp_port", "0", "must be auto, off, or a port between 1 and 65535"),
        ("ping_udp_port", "65536", "must be auto, off, or a port between 1 and 65535"),
        ("port_range", "30000", "must be FIRST-LAST"),
        ("port_range", "80-2000", "must be FIRST-LAST"),
        ("port_range", "3000-2000", "must be FIRST-LAST"),
        ("cpu_overcommit", "0.5", "must be a number between 1 and 100"),
        ("cpu_overcommit", "nan", "must be a number between 1 and 100"),
        ("cpu_overcommit", "1e1", "must be a number between 1 and 100"),
        ("engine_socket", "tcp://127.0.0.1:2375", "must be the absolute path of a socket"),
        ("regions", "Chicago,Atlantis", "must name one or more of Seattle"),
        ("idle_timeout_s", "0", "must be a number between 1 and 604800"),
        ("max_chunk_bytes", "100 parsecs", "must be a size between 1KiB and 5GiB"),
        ("sandboxes_ahead", "-1", "must be a whole number between 0 and 64"),
        ("sandboxes_ahead", "²", "must be a whole number between 0 and 64"),
        ("memory_mb_max", "511", "must be a whole number between 512 and"),
        ("google_jwks", "http://keys.example/certs", "must be an https:// URL, or a file"),
        (
            "google_jwks",
            "https://keys.example/?key=1",
            "must be an http:// or https:// URL without",
        ),
        ("google_jwks", "/no/such/file", "must be a file that exists"),
        ("google_issuer", "accounts.example", "must be an http:// or https:// URL"),
        ("lobbies_per_player_hour", "-1", "must be a whole number between 0 and"),
        ("polls_per_second", "9", "must be 0 or a whole number between 10 and"),
        ("accept_unenforced", "maybe", "must be 1, true, yes or on"),
    ],
)
def test_a_wrong_value_is_named_with_its_source(name: str, text: str, allowed: str) -> None:
    each = next(each for each in fields(Settings) if each.name == name)
    with pytest.raises(Invalid, match="must") as by_flag:
        load({name: text})
    assert by_flag.value.field == flag_of(each)
    assert by_flag.value.problem.startswith(allowed)
    assert by_flag.value.problem.endswith(f"not {text!r}")
    with pytest.raises(Invalid, match="must") as by_variable:
        Settings.load({}, {variable_of(each): text})
    assert by_variable.value.field == variable_of(each)


def test_the_admin_token_is_in_no_message_and_no_repr() -> None:
    with pytest.raises(Invalid) as refusal:
        load({"admin_token": "too-short"})
    assert "too-short" not in str(refusal.value)
    assert "hunter2hunter2hunter2" not in repr(load({"admin_token": "hunter2hunter2hunter2"}))


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@x/y", "postgresql://u:hunter2@host", "sqlite://hunter2"]
)
def test_a_database_is_a_url_that_may_hold_a_password(url: str) -> None:
    with pytest.raises(
        Invalid, match=r"--database must be sqlite:///PATH .* or postgresql:"
    ) as wrong:
        load({"database": url})
    assert "hunter2" not in str(wrong.value)
    assert load({"database": "postgresql:///games"}).database_url == "postgresql:///games"
    good = load({"database": "postgresql://u:hunter2@host:5432/games"})
    assert good.database_url == "postgresql://u:hunter2@host:5432/games"
    assert good.shared_store
    assert not load({}).shared_store
    assert "hunter2" not in repr(good)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.write_text("x")
    with pytest.raises(Invalid, match="--tls-cert and --tls-key"):
        load({"tls_cert": str(certificate)})


def test_the_api_may_not_listen_among_the_games_ports() -> None:
    with pytest.raises(Invalid, match="port 20001 lies in the games' --port-range 20000-29999"):
        load({"listen": "127.0.0.1:20001"})


def test_pings_may_not_come_among_the_games_ports() -> None:
    with pytest.raises(Invalid, match="--ping-udp-port port 20001 lies in the games'"):
        load({"ping_udp_port": "20001"})
    assert load({"ping_udp_port": "off"}).ping_udp_port == 0
    assert load({"ping_udp_port": "10000"}).ping_udp_port == 10_000
    assert load({"ping_udp_port": "auto"}).ping_udp_port is None


def test_regions_keep_the_order_of_the_contract() -> None:
    assert load({"regions": "Tokyo, Seattle,Tokyo"}).regions == ("Seattle", "Tokyo")


@pytest.mark.parametrize(
    ("listen", "public", "url"),
    [
        ("127.0.0.1:8000", None, "http://127.0.0.1:8000"),
        ("[::1]:80", None, "http://[::1]:80"),
        ("0.0.0.0:8000", "games.example.org", "http://games.example.org:8000"),
        ("play.example.org:8000", None, "http://play.example.org:8000"),
    ],
)
def test_the_public_url_follows_from_the_hosts(listen: str, public: str | None, url: str) -> None:
    assert load({"listen": listen, "public_host": public}).resolved_public_url() == url


def test_a_wildcard_stands_for_the_primary_address() -> None:
    host = load({"listen": "0.0.0.0:8000"}).resolved_public_host()
    assert host == values.primary_address()
    assert not Address(host, 0).wildcard


def test_the_limits_and_the_policy_follow_the_settings() -> None:
    settings = load(
        {"idle_timeout_s": "7", "stop_grace_s": "2", "port_rest_s": "0", "regions": "Dubai"}
    )
    limits = settings.limits()
    assert (limits.idle_timeout_s, limits.stop_grace_s, limits.idle_stop_grace_s) == (7, 2, 2)
    policy = settings.policy("example.org")
    assert (policy.regions, policy.port_rest_s, policy.public_host) == (
        ("Dubai",),
        0,
        "example.org",
    )
    assert policy.limits == limits


def test_keys_come_from_a_safe_url_or_a_file(tmp_path: Path) -> None:
    pinned = tmp_path / "keys.json"
    pinned.write_text("{}")
    for source in ("https://keys.example/certs", "http://127.0.0.1:8/certs", str(pinned)):
        assert load({"google_jwks": source}).google_jwks == source


def test_players_are_limited_unless_told_otherwise() -> None:
    declared = contract.load().operations
    for operation_id in ("LoginAnonymous", "CreateLobby", "GetLobbyInfo", "GetConnectionInfo"):
        assert load().rate_limits().of(declared[operation_id]) is not None
    free = load().rate_limits().of(declared["CreateRoom"])
    assert free is not None
    for _ in range(1000):
        free.take("one token")
    assert load().policy("x").lobbies_per_player_hour == 10
    for name, operation_id in (
        ("logins_per_minute", "LoginGoogle"),
        ("lobby_calls_per_minute", "CreatePrivateLobby"),
        ("public_reads_per_second", "ListActivePublicLobbies"),
        ("polls_per_second", "GetConnectionInfoDeprecated"),
    ):
        assert load({name: "0"}).rate_limits().of(declared[operation_id]) is None
    limited = load({"developer_calls_per_second": "5"}).rate_limits()
    assert limited.of(declared["CreateRoom"]) is not None


def test_almost_a_setting_is_told_and_strangers_are_left_alone() -> None:
    environ = {"INNKEEPER_LISTENS": "x", "INNKEEPER_PORT": "tcp://10.0.0.1:80", "HOME": "/"}
    environ |= {"INNKEEPER_URL": "x", "INNKEEPER_TOKEN": "x", "INNKEEPER_APP": "x"}
    assert misspelt(environ) == [
        "INNKEEPER_LISTENS is not a setting; did you mean INNKEEPER_LISTEN?"
    ]


@pytest.mark.parametrize(
    ("wanted", "reserved", "overlap"),
    [
        (PortRange(20000, 29999), "", None),
        (PortRange(32000, 33000), "", "32768-33000"),
        (PortRange(32000, 33000), "32768-33000", None),
        (PortRange(32000, 33000), "32768-32999", "33000-33000"),
        (PortRange(40000, 40010), "1,40000-40004,40006-40010", "40005-40005"),
    ],
)
def test_ports_the_kernel_gives_out_are_refused(
    wanted: PortRange, reserved: str, overlap: str | None
) -> None:
    assert unreserved_overlap(wanted, "32768\t60999\n", reserved + "\n") == overlap


def test_the_refusal_names_the_way_out() -> None:
    # No machine leaves all ports above 1024 unused by outgoing connections.
    with pytest.raises(Invalid, match=r"sysctl -w net\.ipv4\.ip_local_reserved_ports="):
        check_machine(load({"port_range": "1024-65535", "listen": "127.0.0.1:80"}))


@given(st.integers(1, 2**40))
def test_a_shown_size_is_read_as_itself(count: int) -> None:
    assert values.size(1, 2**40)(values.shown_size(count)) == count


@given(st.text(max_size=30))
def test_no_text_breaks_a_reader(text: str) -> None:
    for each in fields(Settings):
        problem = "must"
        try:
            each.metadata["parse"](text)
        except ValueError as wrong:
            problem = str(wrong)
        assert "must" in problem
