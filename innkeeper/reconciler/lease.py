"""Holds the lease of what only one server does: waits for it, does the work, notices the loss, gives it back.

No clock is compared with another's: whoever waits measures by its own how long nothing was renewed.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from innkeeper.core.errors import InnkeeperError, StateConflict
from innkeeper.interfaces import Neighbours, Store
from innkeeper.usecases import leases
from innkeeper.usecases.leases import Fence, LeaseSeen

log = logging.getLogger(__name__)

RECONCILER = "reconciler"


@dataclass(frozen=True, slots=True)
class LeasePace:
    """Seconds. A holder renews every ``renew_s``. It is given up after ``patience_s`` without a renewal, or
    as soon as the store no longer sees it; whoever waits looks every ``look_s``.
    """

    renew_s: float = 1.0
    patience_s: float = 5.0
    look_s: float = 0.25
    free_s: float = 1.0  # how long a server that ends waits for the store to take its lease back


@dataclass(frozen=True, slots=True)
class Tenure:
    """One holding of the lease: the fence that its writes show, and ``over`` once it is known to be lost."""

    fence: Fence
    over: asyncio.Event = field(default_factory=asyncio.Event)


Work = Callable[[Tenure], Awaitable[None]]


class Lease:
    """The lease :data:`RECONCILER`, from one server's side. ``holder`` names the server for people; ``place``
    is whose files it has. ``alone``: no other server can be there, so that nothing is waited for or renewed.
    """

    def __init__(
        self,
        store: Store,
        neighbours: Neighbours,
        holder: str,
        place: str,
        *,
        alone: bool,
        pace: LeasePace | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._neighbours = neighbours
        self._holder = holder
        self._place = place
        self._alone = alone
        self._pace = pace or LeasePace()
        self._monotonic = monotonic
        self._sleep = sleep
        self._look_now = asyncio.Event()
        self._seen: LeaseSeen | None = None
        self._same_since = 0.0

    async def run(self, work: Work) -> None:
        """Until cancelled: ``work`` is begun anew with each tenure, and cancelled where that is lost.

        Raises what ``work`` raised, and :class:`StateConflict` where servers with other files are at work.
        """
        while True:
            tenure = await self.acquire()
            log.info("this server (%s) reconciles now, fence %d", self._holder, tenure.fence.number)
            try:
                await self._hold(tenure, work)
            finally:
                await self._give_back(tenure)
            log.warning("this server (%s) reconciles no more: another took over", self._holder)

    async def once(self, work: Work) -> None:
        """Take the lease whoever has it, do ``work`` to its end, give it back. Raises what that raised."""
        tenure = await self.acquire(at_once=True)
        working = asyncio.ensure_future(work(tenure))
        renewing = None if self._alone else asyncio.create_task(self._renew(tenure))
        try:
            await working
        finally:
            working.cancel()
            if renewing is not None:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
            await self._give_back(tenure)

    def look_soon(self) -> None:
        """A hint that the lease is free."""
        self._look_now.set()

    # ------------------------------------------------------------ waiting

    async def acquire(self, at_once: bool = False) -> Tenure:
        """Wait until the lease is ours. Raises :class:`StateConflict` as :meth:`run` does."""
        at_once = at_once or self._alone
        while True:
            try:
                fence = await self._try(at_once)
            except StateConflict:
                raise
            except InnkeeperError as away:
                log.warning("the lease cannot be looked at: %s", away)
                self._seen = None  # it may have been renewed while we could not see it
                fence = None
            if fence is not None:
                return Tenure(fence)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.look_s):
                    await self._look_now.wait()
            self._look_now.clear()

    async def _try(self, at_once: bool) -> Fence | None:
        """Take the lease if it may be taken now."""
        seen = await self._store.read(lambda tx: leases.look(tx, RECONCILER))
        if not at_once and not await self._may_take(seen):
            return None
        number = 1 if seen is None else seen.fence + 1
        # In this order: a holder that cannot be seen would be taken for gone at once.
        if not await self._neighbours.show(number):
            return None
        fence = None
        try:
            fence = await self._store.write(
                lambda tx: leases.take(tx, RECONCILER, self._holder, self._place, seen)
            )
        finally:
            if fence is None:
                await self._neighbours.hide(number)
        return fence

    async def _may_take(self, seen: LeaseSeen | None) -> bool:
        if seen is None or seen.holder is None:
            return True
        if seen != self._seen:
            self._refuse_other_place(seen)
            self._seen, self._same_since = seen, self._monotonic()
        if await self._neighbours.gone(seen.fence):
            log.warning("the holder %s is gone", seen.holder)
            return True
        if self._monotonic() - self._same_since < self._pace.patience_s:
            return False
        log.warning("the holder %s has renewed nothing for a while", seen.holder)
        return True

    def _refuse_other_place(self, seen: LeaseSeen) -> None:
        """A holder that was seen to live, and has other files: we could never go on with its games."""
        before = self._seen
        lives = before is not None and (before.holder, before.fence) == (seen.holder, seen.fence)
        if lives and seen.place != self._place:
            raise _elsewhere(seen)

    # ------------------------------------------------------------ holding

    async def _hold(self, tenure: Tenure, work: Work) -> None:
        working = asyncio.ensure_future(work(tenure))
        beside: list[asyncio.Task[Any]] = [asyncio.create_task(tenure.over.wait())]
        if not self._alone:
            beside.append(asyncio.create_task(self._renew(tenure)))
        try:
            await asyncio.wait((working, *beside), return_when=asyncio.FIRST_COMPLETED)
            if working.done() and not tenure.over.is_set():
                # It never ends by itself: if it did, the reason must be seen.
                working.result()
                raise RuntimeError("the holder's work came to an end by itself")
        finally:
            for task in (working, *beside):
                task.cancel()
            await asyncio.gather(working, *beside, return_exceptions=True)

    async def _renew(self, tenure: Tenure) -> None:
        """Until it is lost. A store that is away ends nothing: without it nobody can take over either."""
        while not tenure.over.is_set():
            await self._sleep(self._pace.renew_s)
            try:
                renewed = await self._store.write(lambda tx: leases.renew(tx, tenure.fence))
                if not renewed:
                    tenure.over.set()
                elif not await self._neighbours.show(tenure.fence.number):
                    log.warning("the store does not see this server as the holder")
            except InnkeeperError as away:
                log.warning("the lease could not be renewed: %s", away)

    async def _give_back(self, tenure: Tenure) -> None:
        """So that another need not wait. One that was lost is left alone, and one that cannot be given back
        runs out by itself.
        """
        with contextlib.suppress(InnkeeperError, TimeoutError):
            async with asyncio.timeout(self._pace.free_s):
                if not tenure.over.is_set():
                    await self._store.write(lambda tx: leases.free(tx, tenure.fence))
                    self._neighbours.tell_freed()
                await self._neighbours.hide(tenure.fence.number)


async def refuse_other_place(store: Store, neighbours: Neighbours, place: str) -> None:
    """Raise :class:`StateConflict` where a holder lives that has files of another place: ask before anything
    is changed.
    """
    seen = await store.read(lambda tx: leases.look(tx, RECONCILER))
    if seen is None or seen.holder is None or seen.place == place:
        return
    if not await neighbours.gone(seen.fence):
        raise _elsewhere(seen)


def _elsewhere(seen: LeaseSeen) -> StateConflict:
    return StateConflict(
        f"server {seen.holder} works on this database with files of its own ({seen.place}): "
        "give every server the same --data-dir, on the same machine"
    )
