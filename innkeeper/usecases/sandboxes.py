"""Network sandboxes made ahead: their rows, ports and share of the memory."""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from innkeeper.core.capacity import SANDBOX_MEMORY_MB
from innkeeper.core.catalog import ContainerPort
from innkeeper.core.moments import from_ms, maybe_from_ms, to_ms
from innkeeper.core.orphans import Sandbox
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import capacity


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the plan is made from: latest deployments, most recently used first, and every sandbox."""

    deployments: dict[str, tuple[ContainerPort, ...]]
    sandboxes: tuple[Sandbox, ...]


def load(tx: Tx) -> Wanted:
    """The store's half of the plan."""
    deployments = {
        row["deployment_id"]: msgspec.json.decode(row["ports"], type=tuple[ContainerPort, ...])
        for row in tx.all("sandboxes.used_deployments")
    }
    return Wanted(deployments, tuple(sandbox_from(row) for row in tx.all("sandboxes.all")))


def sandbox_from(row: Row) -> Sandbox:
    """A sandbox from its row."""
    return Sandbox(
        sandbox_id=row["sandbox_id"],
        deployment_id=row["deployment_id"],
        state=row["state"],
        host_ports=msgspec.json.decode(row["host_ports"], type=tuple[int, ...]),
        private_ip=row["private_ip"],
        process_id=row["process_id"],
        created_at=from_ms(row["created_at"]),
        ready_at=maybe_from_ms(row["ready_at"]),
    )


def plan_one(tx: Tx, deployment_id: str, ports: int, context: Context) -> Sandbox:
    """Record a sandbox to be made, with its ports. Raises :class:`Exhausted`: players' processes
    come first.
    """
    sandbox_id = context.ids.uuid()
    capacity.take_capacity(tx, 0, SANDBOX_MEMORY_MB)
    host_ports = capacity.take_ports(tx, sandbox_id, ports, context)
    tx.run(
        "sandboxes.insert",
        sandbox_id=sandbox_id,
        deployment_id=deployment_id,
        host_ports=msgspec.json.encode(host_ports).decode(),
        created_at=to_ms(context.now),
    )
    return Sandbox(
        sandbox_id, deployment_id, "making", tuple(host_ports), None, None, context.now, None
    )


def mark_ready(tx: Tx, sandbox_id: str, private_ip: str | None, now: datetime) -> None:
    """It is made and can be joined."""
    tx.run(
        "sandboxes.mark_ready", sandbox_id=sandbox_id, private_ip=private_ip, ready_at=to_ms(now)
    )


def claim_for_removal(tx: Tx, sandbox_id: str) -> bool:
    """Take it out of reach; false where a process has joined it meanwhile."""
    capacity.lock(tx)
    return bool(tx.run("sandboxes.claim_for_removal", sandbox_id=sandbox_id))


def record_removed(tx: Tx, sandbox_id: str, context: Context) -> None:
    """It is gone: its ports rest."""
    capacity.lock(tx)
    if tx.run("sandboxes.delete", sandbox_id=sandbox_id):
        capacity.give_back_capacity(tx, 0, SANDBOX_MEMORY_MB)
        capacity.give_back_ports(tx, sandbox_id, context)
