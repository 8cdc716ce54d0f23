"""Taking and giving back what a process needs of this machine: CPU, memory, host ports, a sandbox.

All of it inside the transaction that makes or ends the process row, so nothing is promised twice.
"""

from dataclasses import dataclass

import msgspec

from innkeeper.core.capacity import SANDBOX_MEMORY_MB, Machine, Promised, shortage
from innkeeper.core.catalog import Deployment
from innkeeper.core.errors import NoCapacity
from innkeeper.core.moments import to_ms
from innkeeper.core.processes import ExposedPort
from innkeeper.interfaces import Context, Tx

FULL_RETRY_S = 10


@dataclass(frozen=True, slots=True)
class Seat:
    """What a new process was given: its addresses, and the sandbox that holds them (where one was ready)."""

    exposed_ports: tuple[ExposedPort, ...]
    sandbox_id: str | None


def lock(tx: Tx) -> None:
    """From here on nobody else takes or gives back CPU, memory, ports or sandboxes, until the commit.

    The last lock that a transaction takes: after those of apps and regions, and never before them.
    """
    tx.one("capacity.lock")


def take_capacity(tx: Tx, cpu_millis: int, memory_mb: int) -> None:
    """Promise CPU and memory; raises :class:`NoCapacity` naming what is short (clarifications: a
    full machine).
    """
    if tx.run("capacity.take", cpu_millis=cpu_millis, memory_mb=memory_mb):
        return
    row = tx.one("capacity.machine")
    assert row is not None, "the machine row is made when the store is opened"
    machine = Machine(row["cpu_millis"], row["memory_mb"])
    promised = Promised(row["cpu_millis_promised"], row["memory_mb_promised"])
    short = shortage(machine, promised, cpu_millis, memory_mb)
    raise NoCapacity(
        f"The machine is full: {short}. Stop a process, or ask for less in the deployment",
        FULL_RETRY_S,
        machine=True,
    )


def give_back_capacity(tx: Tx, cpu_millis: int, memory_mb: int) -> None:
    """What was promised is free again."""
    tx.run("capacity.give_back", cpu_millis=cpu_millis, memory_mb=memory_mb)


def take_seat(tx: Tx, process_id: str, deployment: Deployment, context: Context) -> Seat:
    """A ready sandbox of the deployment with its ports, or ports of its own. Raises :class:`NoCapacity`."""
    ready = tx.one("sandboxes.take", process_id=process_id, deployment_id=deployment.deployment_id)
    if ready is not None:
        tx.run("capacity.pass_ports_on", sandbox_id=ready["sandbox_id"], process_id=process_id)
        ports = msgspec.json.decode(ready["host_ports"], type=list[int])
        return Seat(_exposed(deployment, ports, context), ready["sandbox_id"])
    ports = take_ports(tx, process_id, len(deployment.ports), context)
    return Seat(_exposed(deployment, ports, context), None)


def take_ports(tx: Tx, owner: str, count: int, context: Context) -> list[int]:
    """``count`` host ports for a process or sandbox. Raises :class:`NoCapacity` when too few are
    free and rested.
    """
    lock(tx)
    ports: list[int] = []
    now = to_ms(context.now)
    for _ in range(count):
        row = tx.one("capacity.take_port", owner=owner, now=now)
        if row is None:
            raise _ports_short(tx, now)
        ports.append(row["port"])
    return ports


def _ports_short(tx: Tx, now: int) -> NoCapacity:
    resting = tx.one("capacity.next_port_free")
    if resting is None or resting["free_at"] is None:
        return NoCapacity(
            "The machine is full: every host port of the range is in use",
            FULL_RETRY_S,
            machine=True,
        )
    wait_s = max(1, -(-(resting["free_at"] - now) // 1000))
    why = f"The machine is full: host ports are at rest for {wait_s} s more"
    return NoCapacity(why, wait_s, machine=True)


def give_back_ports(tx: Tx, owner: str, context: Context) -> None:
    """The owner's ports go to rest, so that late packets of old players reach nobody new."""
    free_at = to_ms(context.now) + int(context.policy.port_rest_s * 1000)
    tx.run("capacity.give_back_ports", owner=owner, free_at=free_at)


def release_seat(tx: Tx, process_id: str, context: Context) -> None:
    """Ports to rest and the sandbox forgotten: the runtime holds nothing of the process any more."""
    lock(tx)
    give_back_ports(tx, process_id, context)
    if tx.run("sandboxes.delete_of_process", process_id=process_id):
        give_back_capacity(tx, 0, SANDBOX_MEMORY_MB)


def _exposed(deployment: Deployment, ports: list[int], context: Context) -> tuple[ExposedPort, ...]:
    return tuple(
        ExposedPort(inside.name, context.policy.public_host, port, inside.transport_type)
        for inside, port in zip(deployment.ports, ports, strict=True)
    )
