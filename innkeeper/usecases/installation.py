"""What every start makes sure of: the installation, this machine and its ports, the first org and its admin.

One transaction; safe to repeat.
"""

from dataclasses import dataclass

from innkeeper.core.capacity import SANDBOX_MEMORY_MB, Machine
from innkeeper.core.moments import to_ms
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import capacity
from innkeeper.usecases.orgs import ensure_first_org
from innkeeper.usecases.tokens import preset_admin_token


@dataclass(frozen=True, slots=True)
class Installation:
    """Who this installation is. ``installation_id`` labels what its drivers start."""

    installation_id: str
    url_secret: str
    node_id: str


def seed_installation(
    tx: Tx, context: Context, machine: Machine, first_port: int, last_port: int
) -> Installation:
    """Make the rows of the installation, this machine and its host ports, or bring them up to date.

    The range holds both its ends. What is promised of the machine is counted anew from the processes
    that are not terminated and the sandboxes. Ports that left the range stay while they are owned.
    """
    row = tx.one("installation.first")
    if row is None:
        tx.run(
            "installation.insert",
            installation_id=context.ids.uuid(),
            url_secret=context.ids.secret(),
            created_at=to_ms(context.now),
        )
        row = tx.one("installation.first")
        assert row is not None
    node_id = _seed_machine(tx, context, machine)
    tx.run("host_ports.delete_outside", first_port=first_port, last_port=last_port)
    tx.run("host_ports.insert_range", first_port=first_port, last_port=last_port)
    return Installation(row["installation_id"], row["url_secret"], node_id)


def ensure_admin(tx: Tx, context: Context, plain_text: str) -> str:
    """Make the first org, and ``plain_text`` its admin token; a former one stops working.

    Returns the org's id. Raises :class:`~innkeeper.core.errors.Invalid` for a text that is no token.
    """
    org = ensure_first_org(tx, context)
    preset_admin_token(tx, org.org_id, plain_text, context)
    return org.org_id


def probe(tx: Tx) -> None:
    """Write what nobody reads: once it is done, the store accepts durable writes."""
    tx.run("installation.probe")


def _seed_machine(tx: Tx, context: Context, machine: Machine) -> str:
    # What is counted below is all that was promised: other servers may be at work.
    capacity.lock(tx)
    row = tx.one("capacity.machine")
    node_id: str = context.ids.prefixed("node") if row is None else row["node_id"]
    if row is None:
        tx.run("installation.insert_machine", node_id=node_id)
    tx.run(
        "installation.set_machine",
        node_id=node_id,
        cpu_millis=machine.cpu_millis,
        memory_mb=machine.memory_mb,
        cores=machine.cores,
        total_memory_mb=machine.total_memory_mb,
        sandbox_memory_mb=SANDBOX_MEMORY_MB,
    )
    return node_id
