"""Performs one action: the driver call, and its record in the store. Every one may be repeated."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from innkeeper.core.actions import (
    CreateProcess,
    EndWaiting,
    HoldProcesses,
    KillProcess,
    MarkBooted,
    MarkDraining,
    MarkIdle,
    MarkStarted,
    MarkStopping,
    MarkTerminated,
    PlaceRoom,
    ProcessAction,
    RegionAction,
    RemoveRemains,
    SetTarget,
    SignalProcess,
    StartProcess,
)
from innkeeper.core.errors import (
    Exhausted,
    LeaseLost,
    NoCapacity,
    NotFound,
    PaymentRequired,
    PortTaken,
    StartFailed,
)
from innkeeper.core.ids import Ids
from innkeeper.core.processes import Process
from innkeeper.interfaces import (
    Clock,
    Context,
    LockKey,
    Logs,
    Policy,
    ProcessSpec,
    Runtime,
    Store,
    Tx,
)
from innkeeper.reconciler.lease import Tenure
from innkeeper.reconciler.patience import answered
from innkeeper.reconciler.specs import process_spec
from innkeeper.reconciler.watch import Watch
from innkeeper.usecases import (
    allocations,
    autoscaling,
    leases,
    lifecycle,
    made_ahead,
    metering,
    waiting,
)

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the reconciler works with. ``tenure``: the lease under which it works, whose fence every record
    shows; ``None`` where nobody else can be at work (tests, simulations).
    """

    store: Store
    runtime: Runtime
    logs: Logs
    clock: Clock
    ids: Ids
    policy: Policy
    public_ip: str
    wake: Callable[[tuple[str, str]], None]
    tenure: Tenure | None = None

    def context(self, now: datetime | None = None) -> Context:
        """The surroundings of one transaction."""
        return Context(now or self.clock(), self.ids, self.policy)

    async def record(self, fn: Callable[[Tx, Context], T], key: LockKey | None = None) -> T:
        """One transaction, and its wake-ups once it is durable. ``key``: the app and region whose rooms or
        processes it changes; nobody else changes them meanwhile.

        Raises :class:`LeaseLost` where another server took over; then nothing was written.
        """
        context, tenure = self.context(), self.tenure

        def fenced(tx: Tx) -> T:
            if tenure is not None:
                leases.require(tx, tenure.fence)
            return fn(tx, context)

        try:
            result = await self.store.write(fenced, () if key is None else (key,))
        except LeaseLost:
            if tenure is not None:
                tenure.over.set()
            raise
        for woken in context.wake:
            self.wake(woken)
        return result

    async def confirm(self) -> None:
        """Raise :class:`LeaseLost` where another server took over: ask before what is not harmless twice."""
        if self.tenure is not None:
            await self.record(lambda tx, c: None)


class Performer:
    """Carries actions out. ``starts_max`` driver starts at a time: the engine serialises beyond
    that anyway.
    """

    def __init__(
        self,
        around: Surroundings,
        watch: Watch,
        starts_max: int = 8,
        bind_patience_s: float = 0.0,
    ) -> None:
        self._around = around
        self._watch = watch
        self._bind_patience_s = bind_patience_s
        self._starts = asyncio.Semaphore(starts_max)
        self.starting = 0

    async def perform(self, action: ProcessAction, process: Process) -> bool:
        """Do it, then record it. True: look again at once."""
        around, process_id, key = self._around, process.process_id, key_of(process)
        match action:
            case StartProcess():
                await self._start(process)
            case MarkBooted(at=at):
                await around.record(lambda tx, c: lifecycle.record_booted(tx, process_id, at), key)
            case MarkStarted(at=at):
                await self._mark_started(process, at)
            case MarkStopping():
                self._watch.settle(process_id)
                return await around.record(
                    lambda tx, c: lifecycle.record_stopping(tx, action, c), key
                )
            case MarkDraining(reason=reason):
                await around.record(
                    lambda tx, c: lifecycle.record_draining(tx, process_id, reason, c), key
                )
            case MarkIdle(since=since):
                await around.record(lambda tx, c: lifecycle.record_idle(tx, process_id, since), key)
            case SignalProcess():
                await self._signal(process, kill=False)
            case KillProcess():
                await self._signal(process, kill=True)
            case MarkTerminated(exit=exit_):
                self._watch.settle(process_id)
                await around.record(
                    lambda tx, c: lifecycle.record_terminated(tx, process_id, exit_, c), key
                )
            case RemoveRemains():
                await self._remove(process)
        return True

    async def perform_in(self, key: LockKey, action: RegionAction) -> bool:
        """What is about a whole region. True: something changed, so look again at once."""
        around = self._around
        match action:
            case CreateProcess():
                return await self._create(key, action)
            case HoldProcesses(deployment_id=deployment_id, reason=reason):
                await around.record(
                    lambda tx, c: allocations.hold(tx, key, deployment_id, reason, c), key
                )
                return False
            case SetTarget(target=target, cause=cause):
                return await around.record(
                    lambda tx, c: autoscaling.set_target(tx, key, target, cause, c), key
                )
            case PlaceRoom(room_id=room_id, short=short):
                return await self._place(key, room_id, short)
            case EndWaiting(room_id=room_id, reason=reason):
                return await around.record(lambda tx, c: waiting.end(tx, room_id, reason, c), key)

    async def _create(self, key: LockKey, action: CreateProcess) -> bool:
        around, deployment_id, made_for = self._around, action.deployment_id, action.made_for
        try:
            return await around.record(
                lambda tx, c: made_ahead.create(tx, key, deployment_id, made_for, c), key
            )
        except (Exhausted, NotFound, PaymentRequired) as refused:
            reason = refused.message
        await around.record(lambda tx, c: allocations.hold(tx, key, deployment_id, reason, c), key)
        return False

    async def _place(self, key: LockKey, room_id: str, short: str) -> bool:
        """One that cannot be placed waits on, unless waiting does not help."""
        around = self._around
        try:
            return await around.record(lambda tx, c: waiting.place(tx, room_id, c), key)
        except NoCapacity as full:
            still = full
        except (Exhausted, NotFound, PaymentRequired) as refused:
            reason = refused.message
            return await around.record(lambda tx, c: waiting.end(tx, room_id, reason, c), key)
        if still.message != short:
            await around.record(lambda tx, c: waiting.still_short(tx, room_id, still), key)
        return False

    async def _start(self, process: Process) -> None:
        around, process_id = self._around, process.process_id
        self.starting += 1
        try:
            async with self._starts:
                row = await around.record(
                    lambda tx, c: lifecycle.record_attempt(tx, process_id, c.now), key_of(process)
                )
                if row is not None:
                    await self._hand_over(process, process_spec(row, around.public_ip))
        finally:
            self.starting -= 1

    async def _hand_over(self, process: Process, spec: ProcessSpec) -> None:
        around, process_id = self._around, process.process_id
        try:
            booted_at = await answered(around.runtime.start(spec))
        except PortTaken as taken:
            log.warning("process %s: %s; trying other ports", process_id, taken)
            await self._move(process, taken)
            return
        except StartFailed as failure:
            reason = f"Image could not be started: {failure.message}"
            log.warning("process %s: %s", process_id, reason)
            await self._never_started(process, reason)
            return
        self._watch.note_started(process_id)
        # Most games bind at once: one commit then tells both, and no other pass is needed.
        bound_at = await self._watch.bound_soon(process_id, spec.ports, self._bind_patience_s)
        if bound_at is None:
            self._watch.expect_bind(key_of(process), process_id, spec.ports)
        await around.record(
            lambda tx, c: lifecycle.record_start(
                tx, process_id, process.deployment_id, booted_at, bound_at
            ),
            key_of(process),
        )
        if bound_at is not None:
            self._watch.settle(process_id)

    async def _move(self, process: Process, taken: PortTaken) -> None:
        around, process_id = self._around, process.process_id
        # Whoever has taken over may have started it: then its remains are not ours to remove.
        await around.confirm()
        await answered(around.runtime.remove(process_id))
        try:
            await around.record(
                lambda tx, c: lifecycle.replace_ports(tx, process_id, taken.port, c),
                key_of(process),
            )
        except Exhausted as full:
            reason = f"Image could not be started: {taken.message}; {full.message}"
            await self._never_started(process, reason)

    async def _never_started(self, process: Process, reason: str) -> None:
        process_id = process.process_id
        await self._around.record(
            lambda tx, c: lifecycle.record_terminated(
                tx, process_id, None, c, start_failure=reason
            ),
            key_of(process),
        )

    async def _mark_started(self, process: Process, at: datetime) -> None:
        await self._around.record(
            lambda tx, c: lifecycle.record_started(
                tx, process.process_id, process.deployment_id, at
            ),
            key_of(process),
        )
        self._watch.settle(process.process_id)

    async def _signal(self, process: Process, kill: bool) -> None:
        process_id = process.process_id
        await answered(self._around.runtime.signal(process_id, kill))
        await self._around.record(
            lambda tx, c: lifecycle.record_signal(tx, process_id, kill, c.now), key_of(process)
        )

    async def _remove(self, process: Process) -> None:
        """Its log and its last counters first: what the runtime holds of it goes with it."""
        around, process_id = self._around, process.process_id
        await around.logs.keep(process_id, await answered(around.runtime.log_source(process_id)))
        used = (await answered(around.runtime.usage([process_id]))).get(process_id)
        cpu_ms, sent = (None, None) if used is None else (used.cpu_ms, used.egress_bytes)
        await around.record(lambda tx, c: metering.record_last(tx, process_id, cpu_ms, sent, c.now))
        await answered(around.runtime.remove(process_id))
        await around.record(
            lambda tx, c: lifecycle.record_removed(tx, process_id, c), key_of(process)
        )


def key_of(process: Process) -> LockKey:
    """The pass that looks at it, and the lock that its changes need."""
    return process.app_id, process.region
