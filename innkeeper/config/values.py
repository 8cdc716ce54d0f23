"""How the text of one setting becomes a value.

Each reader raises ``ValueError`` with what is allowed, as a text that completes "--flag …", such as
"must be between 1 and 100".
"""

import ipaddress
import os
import re
import socket
from collections.abc import Callable
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from innkeeper.core.catalog import REGIONS

_HOST = re.compile(r"\A[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?\Z", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"\A[0-9]{1,12}(\.[0-9]{1,6})?\Z", re.ASCII)
_DIGITS = re.compile(r"\A[0-9]{1,12}\Z", re.ASCII)
_SIZE = re.compile(r"\A([0-9]{1,15})\s*([KMGT]?)(i?B)?\Z", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


class Address(NamedTuple):
    """A host name or IP address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def wildcard(self) -> bool:
        """Whether it stands for every address of the machine."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


class PortRange(NamedTuple):
    """Ports from ``first`` to ``last``, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last


def choice(*allowed: str) -> Callable[[str], str]:
    """One of a few words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """A decimal number between two bounds, both included."""

    def read(text: str) -> float:
        if not _NUMBER.match(text) or not low <= float(text) <= high:
            raise ValueError(f"must be a number between {low:.12g} and {high:.12g}")
        return float(text)

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number between two bounds, both included."""

    def read(text: str) -> int:
        if not _DIGITS.match(text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number between {low} and {high}")
        return int(text)

    return read


def zero_or(low: int, high: int) -> Callable[[str], int]:
    """0, or a whole number between two bounds, both included."""

    def read(text: str) -> int:
        if not _DIGITS.match(text) or not (int(text) == 0 or low <= int(text) <= high):
            raise ValueError(f"must be 0 or a whole number between {low} and {high}")
        return int(text)

    return read


def port_or(automatic: str, none: str) -> Callable[[str], int | None]:
    """A port; ``None`` for the word that leaves the choice to us, 0 for the word that wants none."""

    def read(text: str) -> int | None:
        if text == automatic:
            return None
        if text == none:
            return 0
        if not _DIGITS.match(text) or not 1 <= int(text) <= 65535:
            raise ValueError(f"must be {automatic}, {none}, or a port between 1 and 65535")
        return int(text)

    return read


def dollars(high: int) -> Callable[[str], int]:
    """An amount of money up to ``high`` dollars, exact: as millionths of a dollar."""

    def read(text: str) -> int:
        if not _NUMBER.match(text) or Decimal(text) > high:
            raise ValueError(f"must be dollars between 0 and {high}, with six decimals at the most")
        return int(Decimal(text).scaleb(6))

    return read


def size(low: int, high: int) -> Callable[[str], int]:
    """A number of bytes, or of KiB, MiB, GiB or TiB (the units count in 1024s)."""

    def read(text: str) -> int:
        match = _SIZE.match(text)
        count = int(match[1]) * _UNITS[match[2].upper()] if match else -1
        if not low <= count <= high:
            bounds = f"between {shown_size(low)} and {shown_size(high)}"
            raise ValueError(f"must be a size {bounds}, such as 100MiB or 104857600")
        return count

    return read


def shown_size(count: int) -> str:
    """``count`` bytes in the largest unit that divides it: ``100MiB``."""
    for unit in "TGMK":
        if count and count % _UNITS[unit] == 0:
            return f"{count // _UNITS[unit]}{unit}iB"
    return str(count)


def switch(text: str) -> bool:
    """On or off."""
    word = text.lower()
    if word not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
        raise ValueError("must be 1, true, yes or on, or else 0, false, no or off")
    return word in ("1", "true", "yes", "on")


def path(text: str) -> Path:
    """Any path that is not empty."""
    if not text or "\0" in text:
        raise ValueError("must be a path")
    # A "~" of an unknown user stays as it is: it may be a folder's name.
    return Path(os.path.expanduser(text))


def existing_file(text: str) -> Path:
    """The path of a file that is there."""
    found = path(text)
    if not found.is_file():
        raise ValueError("must be a file that exists")
    return found


def socket_path(text: str) -> Path:
    """The path of a UNIX socket, bare or as ``unix://PATH``. It may appear later."""
    bare = text.removeprefix("unix://")
    if "://" in bare or not bare.startswith("/"):
        raise ValueError("must be the absolute path of a socket, such as /run/podman/podman.sock")
    return path(bare)


def host(text: str) -> str:
    """A host name or an IP address, without a port or brackets."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if not _HOST.match(text):
            raise ValueError("must be a host name or an IP address, without a port") from None
    return text


def address(text: str) -> Address:
    """``HOST:PORT``; an IPv6 address stands in brackets."""
    name, colon, port = text.rpartition(":")
    problem = "must be HOST:PORT, such as 127.0.0.1:8000, 0.0.0.0:8000 or [::1]:8000"
    if not colon or not _DIGITS.match(port) or int(port) > 65535:
        raise ValueError(problem)
    bracketed = name.startswith("[") and name.endswith("]")
    bare = name[1:-1] if bracketed else name
    if bracketed != (":" in bare):
        raise ValueError(problem)
    try:
        return Address(host(bare), int(port))
    except ValueError:
        raise ValueError(problem) from None


def url(text: str) -> str:
    """An http or https URL without query; a trailing slash is dropped."""
    problem = (
        "must be an http:// or https:// URL without a query, such as https://games.example.org"
    )
    try:
        parts = urlsplit(text)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(problem) from None
    good = parts.scheme in ("http", "https") and parts.hostname and port_is_good
    extra = parts.query or parts.fragment or parts.username or any(c.isspace() for c in text)
    if not good or extra:
        raise ValueError(problem)
    return text.rstrip("/")


def key_set(text: str) -> str:
    """An https URL, or the path of a file that exists. http only of this machine: keys decide who is who."""
    if "://" not in text:
        return str(existing_file(text))
    parts = urlsplit(url(text))
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError("must be an https:// URL, or a file that exists")
    return text


def database(text: str) -> str:
    """The URL of a store: a file of this machine, or a PostgreSQL database."""
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) >= 2:
        return text
    if scheme in ("postgresql", "postgres") and rest.partition("/")[2].strip("/"):
        return text
    raise ValueError(
        "must be sqlite:///PATH (sqlite:////var/lib/x.db for an absolute path), or "
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Addresses or networks, parted by commas."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as wrong:
        raise ValueError(f"must be addresses or networks such as 10.0.0.0/8 ({wrong})") from None


def admin_token(text: str) -> str:
    """16 or more printable ASCII characters without spaces: it must fit into a header."""
    if not 16 <= len(text) <= 512 or not all("!" <= c <= "~" for c in text):
        raise ValueError("must be 16 to 512 printable ASCII characters without spaces")
    return text


def port_range(text: str) -> PortRange:
    """``FIRST-LAST``: at least ten ports, none below 1024."""
    first, dash, last = text.partition("-")
    digits = dash and all(_DIGITS.match(part) for part in (first, last))
    if not digits or not 1024 <= int(first) <= int(last) <= 65535 or int(last) - int(first) < 9:
        raise ValueError("must be FIRST-LAST within 1024-65535 and hold 10 ports or more")
    return PortRange(int(first), int(last))


def regions(text: str) -> tuple[str, ...]:
    """Names of regions, parted by commas; the contract's order is kept."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    unknown = sorted(set(names) - set(REGIONS))
    if unknown or not names:
        raise ValueError(f"must name one or more of {', '.join(REGIONS)}")
    return tuple(region for region in REGIONS if region in names)


def primary_address() -> str:
    """The address this machine reaches others from; loopback without a network. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket only asks the routing table. The address is nobody's
            # (it is kept for documentation).
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def unreserved_overlap(wanted: PortRange, ephemeral: str, reserved: str) -> str | None:
    """The part of ``wanted`` that the kernel may give out by itself, ``FIRST-LAST``, or ``None``.

    ``ephemeral`` and ``reserved`` are what ``ip_local_port_range`` and
    ``ip_local_reserved_ports`` hold.
    """
    low, high = (int(part) for part in ephemeral.split())
    held: set[int] = set()
    for part in reserved.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            held.update(range(int(first), int(last or first) + 1))
    loose = [
        port
        for port in range(max(low, wanted.first), min(high, wanted.last) + 1)
        if port not in held
    ]
    return f"{loose[0]}-{loose[-1]}" if loose else None
