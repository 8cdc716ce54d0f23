"""One frozen settings object. Every field is a flag of ``serve`` and an ``INNKEEPER_…`` variable.

The flags, the variables and the page ``docs/reference/settings.md`` are all made from these fields. They
stand by subject in ``machine.py``, ``players.py`` and ``billing.py``.
"""

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from innkeeper.config import values
from innkeeper.config.billing import BillingSettings
from innkeeper.config.machine import MachineSettings, RuntimeChoice
from innkeeper.config.players import PlayerSettings
from innkeeper.core.errors import Invalid
from innkeeper.core.snapshot import Limits
from innkeeper.interfaces import Policy

__all__ = [
    "RuntimeChoice",
    "Settings",
    "check_machine",
    "flag_of",
    "from_environment",
    "misspelt",
    "shown_default",
    "variable_of",
]


@dataclass(frozen=True, kw_only=True)
class Settings(BillingSettings, PlayerSettings, MachineSettings):
    """How one control plane runs. Durations end in ``_s`` (seconds). The last base's fields come first."""

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
        if self.ping_udp_port in self.port_range:
            problem = f"port {self.ping_udp_port} lies in the games' --port-range {self.port_range}"
            raise Invalid("--ping-udp-port", problem)

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
            event_retention_hours=self.event_retention_hours,
            build_size_max=self.build_size_max,
            chunk_bytes_max=self.max_chunk_bytes,
            port_rest_s=self.port_rest_s,
            accept_unenforced=self.accept_unenforced,
            registry_builds=registry_builds,
            webhook_private_networks=self.webhook_private_networks,
            lobbies_per_player_hour=self.lobbies_per_player_hour,
            public_url=self.public_url,
            prices=self.prices(),
            monthly_vcpu_hours_limit=self.monthly_vcpu_hours,
        )

    @property
    def database_url(self) -> str:
        """The store's URL; ``sqlite:///PATH`` (four slashes before an absolute path)."""
        return self.database or f"sqlite:///{self.data_dir.absolute() / 'innkeeper.db'}"

    @property
    def shared_store(self) -> bool:
        """Whether several servers may work on the store: it is no file of this machine."""
        return not self.database_url.startswith("sqlite:")

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
