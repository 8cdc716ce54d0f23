"""The settings of the machine: where it listens and keeps things, what it gives to games and for how long."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from innkeeper.config import values
from innkeeper.config.setting import setting
from innkeeper.core.catalog import REGIONS

RuntimeChoice = Literal["auto", "container", "process"]
MIB = 1024**2


@dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """The first part of ``Settings``."""

    data_dir: Path = setting(
        values.path,
        Path("data"),
        "DIR",
        "Where everything is kept: the store, builds, logs, the engine's files, the admin token.",
    )
    listen: values.Address = setting(
        values.address,
        values.Address("127.0.0.1", 8000),
        "HOST:PORT",
        "Where the API listens. Port 0 lets the kernel choose.",
    )
    runtime: RuntimeChoice = setting(
        values.choice("auto", "container", "process"),
        "auto",
        "auto|container|process",
        "How games run: in containers of Docker or Podman, or as plain host processes. `auto` "
        "takes containers, and host processes only on a machine without an engine.",
    )
    database: str | None = setting(
        values.database,
        None,
        "URL",
        "The store: `sqlite:///PATH` for one server, `postgresql://USER:PASSWORD@HOST:PORT/DATABASE` for any "
        "number. The variable is better than the flag where there is a password: other users of the machine "
        "can read flags.",
        "`innkeeper.db` in the data directory",
        secret=True,
    )
    public_host: str | None = setting(
        values.host,
        None,
        "HOST",
        "The name or address players reach this machine by.",
        "the host of `--listen`, or this machine's primary address if that is a wildcard",
    )
    public_url: str | None = setting(
        values.url,
        None,
        "URL",
        "The API's own URL as clients see it: upload URLs start with it.",
        "made from `--public-host` and the port of `--listen`",
    )
    tls_cert: Path | None = setting(
        values.existing_file,
        None,
        "FILE",
        "Certificate chain (PEM) to serve the API over https; needs `--tls-key`.",
        "none: plain http",
    )
    tls_key: Path | None = setting(
        values.existing_file, None, "FILE", "Private key (PEM) of `--tls-cert`.", "none: plain http"
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = setting(
        values.networks,
        (),
        "CIDR,…",
        "Addresses whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.",
        "none",
    )
    ping_udp_port: int | None = setting(
        values.port_or("auto", "off"),
        None,
        "auto|off|PORT",
        "The UDP port that echoes what clients send to measure their way here. `auto` takes the number of "
        "the API's own port where it is free. The official Unreal plugin pings port 10000.",
        "`auto`",
    )
    admin_token: str | None = setting(
        values.admin_token,
        None,
        "TEXT",
        "The admin token: 16 or more printable characters. A new value replaces the earlier token. "
        "The variable is better than the flag: other users of the machine can read flags.",
        "made at the first start, kept in `admin-token` in the data directory",
        secret=True,
    )
    port_range: values.PortRange = setting(
        values.port_range,
        values.PortRange(20000, 29999),
        "FIRST-LAST",
        "Host ports given to games.",
    )
    cpu_overcommit: float = setting(
        values.number(1, 100),
        8.0,
        "1 to 100",
        "How many times the machine's CPU is promised. Memory is never promised twice.",
    )
    engine_socket: Path | None = setting(
        values.socket_path,
        None,
        "PATH",
        "The socket of a running Docker or Podman engine to use.",
        "an engine service of our own in the data directory, else the system's",
    )
    regions: tuple[str, ...] = setting(
        values.regions, REGIONS, "NAME,…", "The regions this machine answers to.", "all 14"
    )
    accept_unenforced: bool = setting(
        values.switch,
        False,
        "",
        "Accept deployment settings that are stored but not acted on yet, in place of refusing "
        "them with 422.",
    )
    idle_timeout_s: float = setting(
        values.number(1, 7 * 86400),
        300.0,
        "1 to 604800",
        "Seconds without a room and without a connection after which an idle process is stopped.",
    )
    bind_timeout_s: float = setting(
        values.number(1, 3600),
        100.0,
        "1 to 3600",
        "Seconds a game has to bind its port before it is stopped as failed.",
    )
    stop_grace_s: float = setting(
        values.number(0, 3600),
        30.0,
        "0 to 3600",
        "Seconds between asking a game to stop (SIGTERM) and making it (SIGKILL).",
    )
    port_rest_s: float = setting(
        values.number(0, 86400),
        60.0,
        "0 to 86400",
        "Seconds a host port rests after use, so that late packets reach nobody else.",
    )
    max_chunk_bytes: int = setting(
        values.size(1024, 5 * 1024 * MIB),
        100 * MIB,
        "1KiB to 5GiB",
        "Largest part of an upload; clients cut their archives by it.",
    )
    sandboxes_ahead: int = setting(
        values.whole(0, 64),
        4,
        "0 to 64",
        "Network sandboxes made ahead for each latest deployment, so that containers start faster.",
    )
    log_cap_bytes: int = setting(
        values.size(64 * 1024, 1024**4),
        100 * MIB,
        "64KiB to 1TiB",
        "Most output kept of one process; the oldest goes first.",
    )
    log_retention_hours: int = setting(
        values.whole(1, 24 * 366),
        72,
        "1 to 8784",
        "Hours that logs are kept after their process ended.",
    )
    event_retention_hours: int = setting(
        values.whole(1, 24 * 366),
        168,
        "1 to 8784",
        "Hours that the journal of events is kept: what `innkeeper why` tells.",
    )
    webhook_private_networks: bool = setting(
        values.switch,
        False,
        "",
        "Let webhooks reach private, link-local and loopback addresses, too. Only where every organization "
        "here is trusted with what this machine can reach.",
    )
    build_size_max: int = setting(
        values.size(1024, 1024**4),
        10 * 1024 * MIB,
        "1KiB to 1TiB",
        "Largest archive that may be uploaded, and largest sum of the files in it.",
    )
    memory_mb_max: int = setting(
        values.whole(512, 1024 * 1024),
        8192,
        "512 to 1048576",
        "Most memory (MB) that one deployment may ask for.",
    )
