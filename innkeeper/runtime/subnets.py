"""Chooses a private subnet for an installation's bridge that overlaps nothing the machine has a route to."""

import hashlib
import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path

# Apart from the defaults of the engines (10.88-10.89, 172.17-172.31, 192.168) and of common clusters.
_POOL = ipaddress.ip_network("10.192.0.0/11")
_PREFIX = 20  # 4,094 sandboxes
_ROUTE_FIELDS_MIN = 8


def routed(table: str | None = None) -> list[ipaddress.IPv4Network]:
    """The IPv4 networks that the kernel has routes to, without the default route."""
    text = Path("/proc/net/route").read_text("ascii") if table is None else table
    networks = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < _ROUTE_FIELDS_MIN:
            continue
        address, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
        if mask:
            networks.append(ipaddress.IPv4Network((address & mask, mask.bit_count())))
    return networks


def candidates(
    installation: str, taken: Sequence[ipaddress.IPv4Network], count: int = 16
) -> Iterator[ipaddress.IPv4Network]:
    """Up to ``count`` free subnets: the same ones first for the same installation."""
    subnets = 1 << (_PREFIX - _POOL.prefixlen)
    start = int.from_bytes(hashlib.sha256(installation.encode()).digest()[:4], "big")
    found = 0
    for step in range(subnets):
        offset = ((start + step) % subnets) << (32 - _PREFIX)
        subnet = ipaddress.IPv4Network((int(_POOL.network_address) + offset, _PREFIX))
        if any(subnet.overlaps(other) for other in taken):
            continue
        yield subnet
        found += 1
        if found == count:
            return
