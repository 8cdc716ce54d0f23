"""Performs one action: the driver call, and its record in the store. Every one may be repeated."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from innkeeper.core.actions import (
    Action,
    KillProcess,
    MarkBooted,
    MarkIdle,
    MarkStarted,
    MarkStopping,
    MarkTerminated,
    RemoveRemains,
    SignalProcess,
    StartProcess,
)
from innkeeper.core.errors import Exhausted, PortTaken, StartFailed
from innkeeper.core.ids import Ids
from innkeeper.core.processes import Process
from innkeeper.interfaces import Clock, Context, Logs, Policy, ProcessSpec, Runtime, Store, Tx
from innkeeper.reconciler.specs import process_spec
from innkeeper.reconciler.watch import Watch
from innkeeper.usecases import lifecycle, metering

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the reconciler works with."""

    store: Store
    runtime: Runtime
    logs: Logs
    clock: Clock
    ids: Ids
    policy: Policy
    public_ip: str
    wake: Callable[[tuple[str, str]], None]

    def context(self, now: datetime | None = None) -> Context:
        """The surroundings of one transaction."""
        return Context(now or self.clock(), self.ids, self.policy)

    async def record(self, fn: Callable[[Tx, Context], T]) -> T:
        """One transaction, and its wake-ups once it is durable."""
        context = self.context()
        result = await self.store.write(lambda tx: fn(tx, context))
        for key in context.wake:
            self.wake(key)
        return result


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

    async def perform(self, action: Action, process: Process) -> None:
        """Do it, then record it."""
        around, process_id = self._around, process.process_id
        match action:
            case StartProcess():
                await self._start(process)
            case MarkBooted(at=at):
                await around.record(lambda tx, c: lifecycle.record_booted(tx, process_id, at))
            case MarkStarted(at=at):
                await self._mark_started(process, at)
            case MarkStopping(reason=reason, grace_s=grace_s):
                self._watch.settle(process_id)
                await around.record(
                    lambda tx, c: lifecycle.record_stopping(tx, process_id, reason, grace_s, c)
                )
            case MarkIdle(since=since):
                await around.record(lambda tx, c: lifecycle.record_idle(tx, process_id, since))
            case SignalProcess():
                await self._signal(process_id, kill=False)
            case KillProcess():
                await self._signal(process_id, kill=True)
            case MarkTerminated(exit=exit_):
                self._watch.settle(process_id)
                await around.record(
                    lambda tx, c: lifecycle.record_terminated(tx, process_id, exit_, c)
                )
            case RemoveRemains():
                await self._remove(process_id)

    async def _start(self, process: Process) -> None:
        around, process_id = self._around, process.process_id
        self.starting += 1
        try:
            async with self._starts:
                row = await around.record(
                    lambda tx, c: lifecycle.record_attempt(tx, process_id, c.now)
                )
                if row is not None:
                    await self._hand_over(process, process_spec(row, around.public_ip))
        finally:
            self.starting -= 1

    async def _hand_over(self, process: Process, spec: ProcessSpec) -> None:
        around, process_id = self._around, process.process_id
        try:
            booted_at = await around.runtime.start(spec)
        except PortTaken as taken:
            log.warning("process %s: %s; trying other ports", process_id, taken)
            await self._move(process_id, taken)
            return
        except StartFailed as failure:
            reason = f"Image could not be started: {failure.message}"
            log.warning("process %s: %s", process_id, reason)
            await self._never_started(process_id, reason)
            return
        # Most games bind at once: one commit then tells both, and no other pass is needed.
        bound_at = await self._watch.bound_soon(process_id, spec.ports, self._bind_patience_s)
        if bound_at is None:
            self._watch.expect_bind((process.app_id, process.region), process_id, spec.ports)
        await around.record(
            lambda tx, c: lifecycle.record_start(
                tx, process_id, process.deployment_id, booted_at, bound_at
            )
        )
        if bound_at is not None:
            self._watch.settle(process_id)

    async def _move(self, process_id: str, taken: PortTaken) -> None:
        around = self._around
        await around.runtime.remove(process_id)
        try:
            await around.record(
                lambda tx, c: lifecycle.replace_ports(tx, process_id, taken.port, c)
            )
        except Exhausted as full:
            await self._never_started(
                process_id, f"Image could not be started: {taken.message}; {full.message}"
            )

    async def _never_started(self, process_id: str, reason: str) -> None:
        await self._around.record(
            lambda tx, c: lifecycle.record_terminated(tx, process_id, None, c, start_failure=reason)
        )

    async def _mark_started(self, process: Process, at: datetime) -> None:
        await self._around.record(
            lambda tx, c: lifecycle.record_started(
                tx, process.process_id, process.deployment_id, at
            )
        )
        self._watch.settle(process.process_id)

    async def _signal(self, process_id: str, kill: bool) -> None:
        await self._around.runtime.signal(process_id, kill)
        await self._around.record(
            lambda tx, c: lifecycle.record_signal(tx, process_id, kill, c.now)
        )

    async def _remove(self, process_id: str) -> None:
        """Its log and its last counters first: what the runtime holds of it goes with it."""
        around = self._around
        await around.logs.keep(process_id, await around.runtime.log_source(process_id))
        used = (await around.runtime.usage([process_id])).get(process_id)
        cpu_ms, sent = (None, None) if used is None else (used.cpu_ms, used.egress_bytes)
        await around.record(lambda tx, c: metering.record_last(tx, process_id, cpu_ms, sent, c.now))
        await around.runtime.remove(process_id)
        await around.record(lambda tx, c: lifecycle.record_removed(tx, process_id, c))
