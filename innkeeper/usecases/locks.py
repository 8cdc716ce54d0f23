"""Which app and region a change concerns: whoever changes rooms or processes there holds its lock.

Neither ever changes, so that they may be looked up before the transaction. The whole of it: decision 0009.
"""

from collections.abc import Collection

from innkeeper.core.catalog import REGIONS
from innkeeper.interfaces import LockKey, Policy, Tx


def of_room(tx: Tx, wanted: tuple[str, str]) -> Collection[LockKey]:
    """Of a room that stands in the store; ``wanted`` is (app id, room id). None for another."""
    row = tx.one("locks.of_room", room_id=wanted[1])
    return () if row is None else ((row["app_id"], row["region"]),)


def of_process(tx: Tx, wanted: tuple[str, str]) -> Collection[LockKey]:
    """Of a process that stands in the store; ``wanted`` is (app id, process id). None for another."""
    row = tx.one("locks.of_process", process_id=wanted[1])
    return () if row is None else ((row["app_id"], row["region"]),)


def of_app(app_id: str, policy: Policy) -> Collection[LockKey]:
    """Every region of an app: those that are served, and those that may have been served before."""
    return tuple((app_id, region) for region in sorted({*REGIONS, *policy.regions}))
