"""One frozen settings object. Every field is a flag of ``serve`` and an ``INNKEEPER_…`` variable.

The flags, the variables and the page ``docs/reference/settings.md`` are all made from these fields.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, cast

from innkeeper.config import values
from innkeeper.core.catalog import REGIONS
from innkeeper.core.errors import Invalid
from innkeeper.core.snapshot import Limits
from innkeeper.interfaces import Policy

RuntimeChoice = Literal["auto", "container", "process"]
MIB = 1024**2


def _setting(
    parse: Callable[[str], Any],
    default: Any,
    shape: str,
    doc: str,
    shown: str | None = None,
    *,
    secret: bool = False,
) -> Any:
    """A field: how its text is read, default, shape for people, and purpose."""
    metadata = {"parse": parse, "shape": shape, "doc": doc, "shown": shown}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one control plane runs. Durations end in ``_s`` (seconds)."""

    data_dir: Path = _setting(
        values.path,
        Path("data"),
        "DIR",
        "Where everything is kept: the store, builds, logs, the engine's files, the admin token.",
    )
    listen: values.Address = _setting(
        values.address,
        values.Address("127.0.0.1", 8000),
        "HOST:PORT",
        "Where the API listens. Port 0 lets the kernel choose.",
    )
    runtime: RuntimeChoice = _setting(
        values.choice("auto", "container", "process"),
        "auto",
        "auto|container|process",
        "How games run: in containers of Docker or Podman, or as plain host processes. `auto` "
        "takes containers, and host processes only on a machine without an engine.",
    )
    database: str | None = _setting(
        values.database,
        None,
        "URL",
        "The store, as `sqlite:///PATH`.",
        "`innkeeper.db` in the data directory",
    )
    public_host: str | None = _setting(
        values.host,
        None,
        "HOST",
        "The name or address players reach this machine by.",
        "the host of `--listen`, or this machine's primary address if that is a wildcard",
    )
    public_url: str | None = _setting(
        values.url,
        None,
        "URL",
        "The API's own URL as clients see it: upload URLs start with it.",
        "made from `--public-host` and the port of `--listen`",
    )
    tls_cert: Path | None = _setting(
        values.existing_file,
        None,
        "FILE",
        "Certificate chain (PEM) to serve the API over https; needs `--tls-key`.",
        "none: plain http",
    )
    tls_key: Path | None = _setting(
        values.existing_file, None, "FILE", "Private key (PEM) of `--tls-cert`.", "none: plain http"
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = _setting(
        values.networks,
        (),
        "CIDR,…",
        "Addresses whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.",
        "none",
    )
    admin_token: str | None = _setting(
        values.admin_token,
        None,
        "TEXT",
        "The admin token: 16 or more printable characters. A new value replaces the earlier token. "
        "The variable is better than the flag: other users of the machine can read flags.",
        "made at the first start, kept in `admin-token` in the data directory",
        secret=True,
    )
    port_range: values.PortRange = _setting(
        values.port_range,
        values.PortRange(20000, 29999),
        "FIRST-LAST",
        "Host ports given to games.",
    )
    cpu_overcommit: float = _setting(
        values.number(1, 100),
        8.0,
        "1 to 100",
        "How many times the machine's CPU is promised. Memory is never promised twice.",
    )
    engine_socket: Path | None = _setting(
        values.socket_path,
        None,
        "PATH",
        "The socket of a running Docker or Podman engine to use.",
        "an engine service of our own in the data directory, else the system's",
    )
    regions: tuple[str, ...] = _setting(
        values.regions, REGIONS, "NAME,…", "The regions this machine answers to.", "all 14"
    )
    accept_unenforced: bool = _setting(
        values.switch,
        False,
        "",
        "Accept deployment settings that are stored but not acted on yet, in place of refusing "
        "them with 422.",
    )
    idle_timeout_s: float = _setting(
        values.number(1, 7 * 86400),
        300.0,
        "1 to 604800",
        "Seconds without a room and without a connection after which an idle process is stopped.",
    )
    bind_timeout_s: float = _setting(
        values.number(1, 3600),
        100.0,
        "1 to 3600",
        "Seconds a game has to bind its port before it is stopped as failed.",
    )
    stop_grace_s: float = _setting(
        values.number(0, 3600),
        30.0,
        "0 to 3600",
        "Seconds between asking a game to stop (SIGTERM) and making it (SIGKILL).",
    )
    port_rest_s: float = _setting(
        values.number(0, 86400),
        60.0,
        "0 to 86400",
        "Seconds a host port rests after use, so that late packets reach nobody else.",
    )
    max_chunk_bytes: int = _setting(
        values.size(1024, 5 * 1024 * MIB),
        100 * MIB,
        "1KiB to 5GiB",
        "Largest part of an upload; clients cut their archives by it.",
    )
    sandboxes_ahead: int = _setting(
        values.whole(0, 64),
        4,
        "0 to 64",
        "Network sandboxes made ahead for each latest deployment, so that containers start faster.",
    )
    log_cap_bytes: int = _setting(
        values.size(64 * 1024, 1024**4),
        100 * MIB,
        "64KiB to 1TiB",
        "Most output kept of one process; the oldest goes first.",
    )
    log_retention_hours: int = _setting(
        values.whole(1, 24 * 366),
        72,
        "1 to 8784",
        "Hours that logs are kept after their process ended.",
    )
    build_size_max: int = _setting(
        values.size(1024, 1024**4),
        10 * 1024 * MIB,
        "1KiB to 1TiB",
        "Largest archive that may be uploaded, and largest sum of the files in it.",
    )
    memory_mb_max: int = _setting(
        values.whole(512, 1024 * 1024),
        8192,
        "512 to 1048576",
        "Most memory (MB) that one deployment may ask for.",
    )

    @classmethod
    def load(cls, flags: Mapping[str, str | None], environ: Mapping[str, str]) -> "Settings":
        """Read each field from its flag, else its variable, else its default.

        ``flags`` maps field names to texts; an empty variable counts as absent. Raises
        :class:`Invalid` naming the flag or variable that is wrong.
        """
        read: dict[str, Any] = {}
        for each in fields(cls):
            text, source = flags.get(each.name), flag_of(each)
            if text is None:
                text, source = environ.get(variable_of(each)) or None, variable_of(each)
            if text is None:
                continue
            try:
                read[each.name] = each.metadata["parse"](text)
            except ValueError as wrong:
                # A secret is kept out of messages as it is out of ``repr``.
                problem = f"{wrong}, not {text!r}" if each.repr else str(wrong)
                raise Invalid(source, problem) from None
        settings = cls(**read)
        settings._check_together()
        return settings

    def _check_together(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise Invalid("--tls-cert", "and --tls-key must be given together")
        if self.listen.port in self.port_range:
            problem = f"port {self.listen.port} lies in the games' --port-range {self.port_range}"
            raise Invalid("--listen", problem)

    def limits(self) -> Limits:
        """The settings that ``decide`` works by."""
        return Limits(
            bind_timeout_s=self.bind_timeout_s,
            idle_timeout_s=self.idle_timeout_s,
            stop_grace_s=self.stop_grace_s,
            idle_stop_grace_s=min(Limits().idle_stop_grace_s, self.stop_grace_s),
        )

    def policy(self, public_host: str, *, registry_builds: bool = True) -> Policy:
        """The settings that use cases obey."""
        return Policy(
            regions=self.regions,
            public_host=public_host,
            limits=self.limits(),
            memory_mb_max=self.memory_mb_max,
            log_retention_hours=self.log_retention_hours,
            build_size_max=self.build_size_max,
            chunk_bytes_max=self.max_chunk_bytes,
            port_rest_s=self.port_rest_s,
            accept_unenforced=self.accept_unenforced,
            registry_builds=registry_builds,
            public_url=self.public_url,
        )

    @property
    def database_url(self) -> str:
        """The store's URL; ``sqlite:///PATH`` (four slashes before an absolute path)."""
        return self.database or f"sqlite:///{self.data_dir.absolute() / 'innkeeper.db'}"

    def resolved_public_host(self) -> str:
        """``public_host``, else the listen host, else (a wildcard) the primary address."""
        if self.public_host is not None:
            return self.public_host
        if not self.listen.wildcard:
            return self.listen.host
        return values.primary_address()

    def resolved_public_url(self, port: int | None = None) -> str:
        """``public_url``, or one made of the public host and ``port`` (default: that of listen)."""
        if self.public_url is not None:
            return self.public_url
        host = self.resolved_public_host()
        scheme = "https" if self.tls_cert else "http"
        return f"{scheme}://{values.Address(host, port or self.listen.port)}"


def flag_of(each: "Field[Any]") -> str:
    """The command line's name of a field: ``--data-dir``."""
    return "--" + each.name.replace("_", "-")


def variable_of(each: "Field[Any]") -> str:
    """The environment's name of a field: ``INNKEEPER_DATA_DIR``."""
    return "INNKEEPER_" + each.name.upper()


def shown_default(each: "Field[Any]") -> str:
    """A field's default as people would write it."""
    shown = each.metadata["shown"]
    if shown is not None:
        return cast(str, shown)
    if each.name.endswith("_bytes") or each.name == "build_size_max":
        return f"`{values.shown_size(cast(int, each.default))}`"
    if isinstance(each.default, bool):
        return "on" if each.default else "off"
    if isinstance(each.default, float):
        return f"`{each.default:g}`"
    return f"`{each.default}`"


def check_machine(settings: Settings) -> None:
    """Refuse a port range that the kernel may hand to anybody's outgoing connections.

    Raises :class:`Invalid` when the range overlaps the ephemeral ports outside what is reserved.
    """
    kernel = Path("/proc/sys/net/ipv4")
    ephemeral = kernel.joinpath("ip_local_port_range").read_text()
    reserved = kernel.joinpath("ip_local_reserved_ports").read_text()
    overlap = values.unreserved_overlap(settings.port_range, ephemeral, reserved)
    if overlap is not None:
        raise Invalid(
            "--port-range",
            f"{settings.port_range} overlaps the kernel's ephemeral ports ({overlap}): any program "
            f"could be given one of these. Choose another range, or reserve it: "
            f"sysctl -w net.ipv4.ip_local_reserved_ports={overlap}",
        )


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each ``INNKEEPER_…`` variable that is almost, but not quite, a setting.

    Others are left alone: Kubernetes sets ``INNKEEPER_PORT`` beside a service of that name.
    """
    known = [variable_of(each) for each in fields(Settings)]
    sentences = []
    for name in sorted(environ):
        if name.startswith("INNKEEPER_") and name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.85)
            sentences += [f"{name} is not a setting; did you mean {near[0]}?"] if near else []
    return sentences


def from_environment(**flags: str | None) -> Settings:
    """The settings of this process: flags over ``os.environ`` over defaults."""
    return Settings.load(flags, os.environ)
