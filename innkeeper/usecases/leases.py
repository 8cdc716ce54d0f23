"""Leases: what only one server of an installation may do at a time, and whose writes count while it does.

Each function is one transaction, or, :func:`require`, a part of one.
"""

from dataclasses import dataclass

from innkeeper.core.errors import LeaseLost
from innkeeper.interfaces import Tx


@dataclass(frozen=True, slots=True)
class Fence:
    """What the holder of a lease shows with each of its writes: numbers grow with each change of hands."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """A lease as it was looked at. ``holder`` is ``None`` while it is free; two that are equal mean that
    nobody has renewed it in between.
    """

    name: str
    holder: str | None
    place: str | None
    fence: int
    renewals: int


def look(tx: Tx, name: str) -> LeaseSeen | None:
    """The lease as it is; ``None`` where nobody has had it yet."""
    row = tx.one("leases.look", name=name)
    if row is None:
        return None
    return LeaseSeen(name, row["holder"], row["place"], row["fence"], row["renewals"])


def take(tx: Tx, name: str, holder: str, place: str, seen: LeaseSeen | None) -> Fence | None:
    """Hold it from now on, whoever had it; ``None`` where anything has changed since it was ``seen``."""
    if seen is None:
        tx.run("leases.make", name=name)
    fence, renewals = (0, 0) if seen is None else (seen.fence, seen.renewals)
    if not tx.run(
        "leases.take", name=name, holder=holder, place=place, fence=fence, renewals=renewals
    ):
        return None
    return Fence(name, fence + 1)


def renew(tx: Tx, fence: Fence) -> bool:
    """Show that the holder lives; false where it holds no more."""
    return bool(tx.run("leases.renew", name=fence.name, fence=fence.number))


def free(tx: Tx, fence: Fence) -> None:
    """Give it back; nothing where it is somebody else's by now."""
    tx.run("leases.free", name=fence.name, fence=fence.number)


def require(tx: Tx, fence: Fence) -> None:
    """Raise :class:`LeaseLost` unless the fence holds, now and until this transaction is committed."""
    if tx.one("leases.check", name=fence.name, fence=fence.number) is None:
        raise LeaseLost(f"another server has taken over what this one did ({fence.name})")
