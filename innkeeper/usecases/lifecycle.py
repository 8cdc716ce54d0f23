"""What a pass reads and records: the store's side of the reconciler. Each function is one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from innkeeper.core.actions import MarkStopping
from innkeeper.core.catalog import ContainerPort
from innkeeper.core.events import NOBODY_THERE, ORPHAN, PORTS_BOUND, SIGKILL, SIGTERM, EventKind
from innkeeper.core.moments import maybe_from_ms, to_ms
from innkeeper.core.processes import Exit, Process, ended_as_failed, exit_reason
from innkeeper.core.rooms import PROCESS_ENDED
from innkeeper.core.snapshot import DeploymentFacts, WaitingRoom, Wanted
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import allocations, capacity, journal, lobbies, processes, waiting

PORT_QUARANTINE = timedelta(minutes=10)

# Processes by their ids, each with the row that it was made from.
Known = Mapping[str, tuple[Row, Process]]
_NOTHING: Known = {}


@dataclass(frozen=True, slots=True)
class Loaded:
    """The store's half of a snapshot; ``ports`` are each deployment's container ports, the default
    one first. ``known`` is for the next pass.
    """

    app_deleted: bool
    processes: tuple[Process, ...]
    deployments: dict[str, DeploymentFacts]
    ports: dict[str, tuple[ContainerPort, ...]]
    wanted: Wanted
    waiting: tuple[WaitingRoom, ...]
    known: Known


def load(tx: Tx, key: tuple[str, str], now: datetime, known: Known = _NOTHING) -> Loaded:
    """Everything of one app in one region that a pass has to look at.

    ``known`` is what the pass before loaded: most rows are the same as they were then, and to make a process
    from its row takes most of a pass.
    """
    app_id, region = key
    facts, ports = {}, {}
    for row in tx.all("processes.facts", app_id=app_id, region=region):
        inside = msgspec.json.decode(row["ports"], type=tuple[ContainerPort, ...])
        ports[row["deployment_id"]] = inside
        facts[row["deployment_id"]] = DeploymentFacts(
            deployment_id=row["deployment_id"],
            default_port=inside[0].port,
            idle_timeout_enabled=bool(row["idle_timeout_enabled"]),
            start_failures=row["start_failures"],
            last_start_failure_at=maybe_from_ms(row["last_start_failure_at"]),
        )
    rows = tx.all("processes.unfinished", app_id=app_id, region=region)
    deleted, wanted = allocations.load_wanted(tx, key, now)
    made: dict[str, tuple[Row, Process]] = {}
    for row in rows:
        process_id = row["process_id"]
        before = known.get(process_id)
        same = before is not None and before[0] == row
        made[process_id] = before if same and before else (row, processes.process_from(row))
    found = tuple(process for _, process in made.values())
    return Loaded(deleted, found, facts, ports, wanted, waiting.queue(tx, key), made)


def unfinished_keys(tx: Tx) -> list[tuple[str, str]]:
    """Every (app id, region) that a pass has to look at."""
    return [(row["app_id"], row["region"]) for row in tx.all("processes.unfinished_keys")]


def unfinished_ids(tx: Tx) -> set[str]:
    """Every process whose remains the runtime may hold: whatever else it carries is an orphan."""
    return {row["process_id"] for row in tx.all("processes.unfinished_ids")}


def key_of(tx: Tx, process_id: str) -> tuple[str, str] | None:
    """Which pass looks at a process."""
    row = tx.one("processes.key_of", process_id=process_id)
    return None if row is None else (row["app_id"], row["region"])


def record_attempt(tx: Tx, process_id: str, now: datetime) -> Row | None:
    """Record the intent to start; returns the process's specification, or ``None`` where it shall
    not start now.
    """
    at = to_ms(now)
    if not tx.run("processes.mark_attempted", process_id=process_id, now=at):
        return None
    journal.of_process(tx, process_id, "process.starting", at, None)
    return tx.one("processes.spec", process_id=process_id)


def record_booted(tx: Tx, process_id: str, at: datetime) -> None:
    """The runtime shows it started."""
    if tx.run("processes.mark_booted", process_id=process_id, at=to_ms(at)):
        journal.of_process(tx, process_id, "process.booted", to_ms(at), None)


def record_start(
    tx: Tx, process_id: str, deployment_id: str, booted_at: datetime, bound_at: datetime | None
) -> None:
    """What came of a start: it booted, and (where the kernel shows it already) its port is bound."""
    record_booted(tx, process_id, booted_at)
    if bound_at is not None:
        record_started(tx, process_id, deployment_id, max(bound_at, booted_at))


def record_started(tx: Tx, process_id: str, deployment_id: str, at: datetime) -> bool:
    """Its ports are bound; the deployment's crash back-off is over. False where it is so already,
    or ended.
    """
    if not tx.run("processes.mark_started", process_id=process_id, at=to_ms(at)):
        return False
    journal.of_process(tx, process_id, "process.running", to_ms(at), PORTS_BOUND)
    tx.run("processes.start_succeeded", deployment_id=deployment_id, now=to_ms(at))
    return True


def record_idle(tx: Tx, process_id: str, since: datetime | None) -> None:
    """Since when it has had neither rooms nor connections."""
    at = None if since is None else to_ms(since)
    if tx.run("processes.mark_idle", process_id=process_id, since=at) and at is not None:
        journal.of_process(tx, process_id, "process.idle", at, NOBODY_THERE)


def record_signal(tx: Tx, process_id: str, kill: bool, now: datetime) -> None:
    """The runtime took the signal."""
    query = "processes.mark_kill_sent" if kill else "processes.mark_term_sent"
    if tx.run(query, process_id=process_id, now=to_ms(now)):
        kind: EventKind = "process.killed" if kill else "process.signalled"
        journal.of_process(tx, process_id, kind, to_ms(now), SIGKILL if kill else SIGTERM)


def record_stopping(tx: Tx, wanted: MarkStopping, context: Context) -> bool:
    """It shall stop, and why; where the action says so, only while it is empty and enough others are ready.

    False where it shall not.
    """
    process = processes.find(tx, wanted.process_id)
    if process is None or (wanted.if_empty and process.rooms_allocated):
        return False
    if wanted.ready_min > 0 and process.started_at is not None:
        key = process.app_id, process.region
        ready: int = allocations.counts(tx, key, process.deployment_id)["ready"]
        if ready - 1 < wanted.ready_min:
            return False
    processes.mark_stopping(tx, process, wanted.reason, wanted.grace_s, context)
    return True


def record_draining(tx: Tx, process_id: str, reason: str, context: Context) -> None:
    """It takes no new rooms, and why; nothing where it drains already, for whatever reason."""
    process = processes.find(tx, process_id)
    if process is not None and not process.draining:
        processes.mark_draining(tx, process, reason, context)


def record_terminated(
    tx: Tx, process_id: str, exit_: Exit | None, context: Context, start_failure: str | None = None
) -> None:
    """The end: status, reason, rooms, capacity, crash back-off. Set once; ports go to rest with the remains.

    ``start_failure`` is the reason where the runtime could not start it at all.
    """
    process = processes.find(tx, process_id)
    if process is None or process.terminated_at is not None:
        return
    capacity.lock(tx)  # first: then nothing else that shares the commit waits for it
    at = processes.not_before(process, context.now if exit_ is None else exit_.at)
    reason = start_failure or exit_reason(process, exit_)
    failed = ended_as_failed(process, exit_)
    journal.of_process(tx, process_id, "process.terminated", to_ms(at), reason)
    processes.end_rooms(tx, process_id, f"{PROCESS_ENDED}: {reason}", to_ms(at))
    tx.run(
        "processes.mark_terminated",
        process_id=process_id,
        at=to_ms(at),
        failed=int(failed),
        reason=reason,
    )
    capacity.give_back_capacity(tx, process.cpu_millis, process.memory_mb)
    tx.run("allocations.retry_holds", now=to_ms(context.now))
    waiting.wake_those_who_wait(tx, context)
    if process.started_at is None and failed:
        tx.run(
            "processes.start_failed", deployment_id=process.deployment_id, now=to_ms(context.now)
        )
    context.wake.append((process.app_id, process.region))


def record_orphan(tx: Tx, context: Context, process_id: str) -> None:
    """It was removed although its record had ended; of one that never had a record only the log tells."""
    journal.of_process(tx, process_id, "process.orphan_removed", to_ms(context.now), ORPHAN)


def record_removed(tx: Tx, process_id: str, context: Context) -> None:
    """The runtime holds nothing of it any more: its ports rest, its sandbox is forgotten."""
    capacity.lock(tx)
    if tx.run("processes.mark_removed", process_id=process_id):
        journal.of_process(tx, process_id, "process.removed", to_ms(context.now), None)
        capacity.release_seat(tx, process_id, context)


def replace_ports(tx: Tx, process_id: str, taken_port: int, context: Context) -> None:
    """Give a process that has not booted other ports, and leave the taken one alone for ten minutes.

    Raises :class:`Exhausted` where no port is left.
    """
    process = processes.find(tx, process_id)
    if process is None or process.booted_at is not None or process.terminated_at is not None:
        return
    capacity.lock(tx)
    capacity.release_seat(tx, process_id, context)
    quarantine_port(tx, taken_port, context)
    ports = capacity.take_ports(tx, process_id, len(process.exposed_ports), context)
    exposed = [replace(p, port=n) for p, n in zip(process.exposed_ports, ports, strict=True)]
    text = msgspec.json.encode(exposed).decode()
    tx.run("processes.replace_ports", process_id=process_id, exposed_ports=text)
    cause = f"port {taken_port} is held by a program outside Innkeeper"
    journal.of_process(tx, process_id, "process.ports_changed", to_ms(context.now), cause)
    context.wake.append((process.app_id, process.region))


def quarantine_port(tx: Tx, port: int, context: Context) -> None:
    """Nobody gets this port for ten minutes: something outside Innkeeper holds it.

    Nothing where it is owned by now: who starts with it will see.
    """
    capacity.lock(tx)
    tx.run("lifecycle.quarantine_port", port=port, free_at=to_ms(context.now + PORT_QUARANTINE))


def sweep(tx: Tx, context: Context) -> int:
    """Drop what may be forgotten; a bounded share each time. Returns how much was dropped."""
    now = context.now
    history = tx.run("rooms.forget_history", before=to_ms(now - timedelta(hours=72)))
    events = journal.forget(tx, now, context.policy.event_retention_hours)
    return history + events + lobbies.sweep(tx, now)
