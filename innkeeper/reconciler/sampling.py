"""The sampler: measures what runs, tick by tick, and keeps the books of what is over.

A tick's work is spread over its time, some processes at a go, so that no caller waits long behind it.
Everything may be repeated, and nothing that it remembers must survive a restart.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from innkeeper.core.errors import InnkeeperError, RuntimeAway
from innkeeper.core.usage import TIERS
from innkeeper.reconciler.patience import answered
from innkeeper.reconciler.perform import Surroundings
from innkeeper.reconciler.specs import port_specs
from innkeeper.reconciler.watch import Watch
from innkeeper.usecases import autoscaling, billing, metered_months, metering
from innkeeper.usecases.metering import Measured, Target

log = logging.getLogger(__name__)

AT_ONCE = 32  # processes measured, and written, at a go: some milliseconds
_BOOKS_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class SamplerPace:
    """Seconds: of a tick, and between two looks at the books."""

    tick_s: float = float(TIERS[0].step_s)
    books_s: float = _BOOKS_EVERY_S


class Sampler:
    """Measures and keeps the books until it is cancelled."""

    def __init__(
        self,
        around: Surroundings,
        watch: Watch,
        pace: SamplerPace | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._around = around
        self._watch = watch
        self._pace = pace or SamplerPace()
        self._sleep = sleep
        self._monotonic = monotonic
        self._targets: dict[str, Target] = {}  # facts that never change once it has booted

    async def run(self) -> None:
        """Until cancelled."""
        books_at = self._monotonic()
        while True:
            begun = self._monotonic()
            try:
                await self.tick()
                if begun >= books_at:
                    books_at = begun + self._pace.books_s
                    await self.keep_books()
            except RuntimeAway as away:
                log.warning("nothing is measured while the engine is away: %s", away)
            except (InnkeeperError, OSError) as error:
                log.warning("a measurement failed: %s", error)
            await self._sleep(max(0.0, begun + self._pace.tick_s - self._monotonic()))

    async def tick(self) -> None:
        """Measure everything that runs, once; then note what each organization has requested, and the loads
        by which regions are scaled.
        """
        around = self._around
        process_ids, seen_at = self._watch.running()
        if seen_at is not None:
            self._targets = {p: t for p, t in self._targets.items() if p in process_ids}
            shares = [process_ids[i : i + AT_ONCE] for i in range(0, len(process_ids), AT_ONCE)]
            for share in shares:
                await self._record(await self._measure(share, seen_at))
                await self._sleep(self._pace.tick_s / 2 / len(shares))
        await around.record(lambda tx, c: metering.record_peaks(tx, c.now))
        tick_s = self._pace.tick_s
        await around.record(lambda tx, c: autoscaling.record_loads(tx, c.now, tick_s))

    async def keep_books(self) -> None:
        """Fold ended processes into months, close months that are over, drop old samples."""
        around = self._around
        while await around.record(lambda tx, c: metered_months.fold_ended(tx)):
            await self._sleep(0)
        for org_id in await around.store.read(billing.org_ids):
            await self._close(org_id)
        while await around.record(lambda tx, c: metering.forget(tx, c.now)):
            await self._sleep(0)

    async def _close(self, org_id: str) -> None:
        around = self._around
        closed = await around.record(lambda tx, c: billing.close_months(tx, org_id, c))
        if closed:
            log.info("closed %d month(s) of %s", closed, org_id)

    async def _measure(self, process_ids: Sequence[str], seen_at: datetime) -> list[Measured]:
        around, store = self._around, self._around.store
        for process_id in process_ids:
            if process_id not in self._targets:
                target = await store.read(_finder(process_id))
                if target is not None:
                    self._targets[process_id] = target
        usage = await answered(around.runtime.usage(process_ids))
        at = around.clock()
        found = []
        for process_id in process_ids:
            target = self._targets.get(process_id)
            if target is None:
                continue
            used = usage.get(process_id)
            ports = port_specs(target.inside, target.outside)
            found.append(
                Measured(
                    process_id,
                    target.org_id,
                    target.app_id,
                    seen_at,
                    at,
                    None if used is None else used.cpu_ms,
                    None if used is None else used.memory_bytes,
                    None if used is None else used.egress_bytes,
                    around.runtime.connections(process_id, ports),
                )
            )
        return found

    async def _record(self, measured: Sequence[Measured]) -> None:
        await self._around.record(lambda tx, c: metering.record(tx, measured))


def _finder(process_id: str) -> Callable[..., Target | None]:
    return lambda tx: metering.find_target(tx, process_id)
