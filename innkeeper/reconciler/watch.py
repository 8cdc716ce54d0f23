"""What the runtime shows: the latest listing, and the moments at which ports were first seen bound."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from innkeeper.core.errors import RuntimeAway
from innkeeper.core.processes import Process
from innkeeper.core.snapshot import Observation, ProcessSeen
from innkeeper.interfaces import Clock, Listing, PortSpec, Runtime
from innkeeper.reconciler.patience import answered

log = logging.getLogger(__name__)

# Young processes are looked at often: most games bind at once, and are then seen within a millisecond; within
# 5 ms in the first two seconds; then less closely.
_CADENCE_S = ((0.1, 0.001), (2.0, 0.005), (10.0, 0.02), (float("inf"), 0.1))
_TROUBLED_S = 1.0
# Where many start at once, looking takes this share of the time at the most.
_LOOKING_SHARE_MAX = 0.2


@dataclass(slots=True)
class _Waiting:
    key: tuple[str, str]
    ports: tuple[PortSpec, ...]
    since: float


class Watch:
    """Facts about the runtime. Nothing here must survive a restart: the next listing tells it again."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        monotonic: Callable[[], float],
        wake: Callable[[tuple[str, str]], None],
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._monotonic = monotonic
        self._wake = wake
        self._listing: Listing | None = None
        self._taken_at: datetime | None = None
        self._begun = 0  # listings
        self._started_in: dict[str, int] = {}  # how many had begun when a process was seen started
        self._waiting: dict[str, _Waiting] = {}
        self._bound_at: dict[str, datetime] = {}
        self._something_waits = asyncio.Event()

    async def refresh(self) -> Listing:
        """Ask the runtime for everything it carries. Raises :class:`RuntimeAway`; then nothing is known."""
        taken_at = self._clock()
        self._begun += 1
        begun = self._begun
        try:
            listing = await answered(self._runtime.observe())
        except RuntimeAway:
            self.forget()
            raise
        self._listing, self._taken_at = listing, taken_at
        self._started_in = {p: n for p, n in self._started_in.items() if n >= begun}
        return listing

    def note_started(self, process_id: str) -> None:
        """The runtime has just started it: listings that have begun by now may not show it."""
        self._started_in[process_id] = self._begun

    def forget(self) -> None:
        """The runtime is away: what it showed last proves nothing."""
        self._listing = None

    def running(self) -> tuple[tuple[str, ...], datetime | None]:
        """What the latest listing shows running, and when it began; nothing and ``None`` without one."""
        if self._listing is None:
            return (), None
        shown = self._listing.processes
        return tuple(p for p, seen in shown.items() if seen.phase == "running"), self._taken_at

    def sandboxes(self) -> tuple[set[str], datetime, frozenset[str]] | None:
        """The sandboxes that the latest listing shows, when it began, and those that have ended; ``None``
        while there is none."""
        if self._listing is None or self._taken_at is None:
            return None
        return set(self._listing.sandboxes), self._taken_at, self._listing.ended_sandboxes

    def observation(
        self, processes: tuple[Process, ...], ports: Mapping[str, tuple[PortSpec, ...]]
    ) -> Observation | None:
        """The latest listing, seen from these processes; ``None`` while there is none.

        ``ports`` are by process id, of those that do not run yet or hold no rooms: only of these the sockets
        decide something.
        """
        if self._listing is None or self._taken_at is None:
            return None
        seen = {}
        for process in processes:
            shown = self._listing.processes.get(process.process_id)
            if process.started_at is not None or process.stopping_at is not None:
                # Recorded, even where the answer to that was lost, or of no use any more: only listings
                # count from here on. Else one that vanished while it was stopped would be seen for ever.
                self.settle(process.process_id)
            bound_at = self._bound_at.get(process.process_id)
            if bound_at is not None and (shown is None or shown.phase != "exited"):
                # Newer than the listing: it starts without waiting for another one.
                seen[process.process_id] = ProcessSeen(
                    process.process_id, "running", process.booted_at, bound_at
                )
            elif shown is not None:
                seen[process.process_id] = self._complete(process, shown, ports)
        return Observation(self._taken_at, seen, frozenset(self._started_in))

    def _complete(
        self, process: Process, shown: ProcessSeen, ports: Mapping[str, tuple[PortSpec, ...]]
    ) -> ProcessSeen:
        if shown.phase != "running" or process.stopping_at is not None:
            return shown
        if process.started_at is not None and process.rooms_allocated:
            return shown
        own = ports[process.process_id]
        if process.started_at is None:
            # It may have bound its port while nobody looked: a restart must not take it for unbound.
            if process.booted_at is not None and self._is_bound(process.process_id, own):
                return replace(shown, bound_at=self._bound_at[process.process_id])
            return shown
        return replace(shown, connections=self._runtime.connections(process.process_id, own))

    def expect_bind(
        self, key: tuple[str, str], process_id: str, ports: tuple[PortSpec, ...]
    ) -> None:
        """Look at the socket tables until the default port, the first of ``ports``, is bound."""
        if process_id not in self._waiting and process_id not in self._bound_at:
            self._waiting[process_id] = _Waiting(key, ports, self._monotonic())
            self._something_waits.set()

    async def bound_soon(
        self, process_id: str, ports: tuple[PortSpec, ...], patience_s: float
    ) -> datetime | None:
        """When its default port was seen bound, if that is so at once or within ``patience_s``."""
        until = self._monotonic() + patience_s
        while not self._is_bound(process_id, ports):
            if self._monotonic() >= until:
                return None
            await asyncio.sleep(_CADENCE_S[0][1])
        return self._bound_at[process_id]

    def settle(self, process_id: str) -> None:
        """Its bind is recorded, or it ended: no need to look any longer."""
        self._waiting.pop(process_id, None)
        self._bound_at.pop(process_id, None)

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Poll the socket tables while anything waits to be bound; ends only when cancelled."""
        while True:
            if not self._waiting:
                self._something_waits.clear()
                await self._something_waits.wait()
            began = self._monotonic()
            try:
                self.look()
            except OSError as error:
                # Descriptors or the kernel's memory are short; the ports are there to be seen later.
                log.warning("could not look at the socket tables: %s", error)
                await sleep(_TROUBLED_S)
            took_s = self._monotonic() - began
            if self._waiting:
                await sleep(max(self._pause_s(), took_s / _LOOKING_SHARE_MAX - took_s))

    def look(self) -> None:
        """Look once at everything that waits to be bound."""
        for process_id, waiting in list(self._waiting.items()):
            if self._is_bound(process_id, waiting.ports):
                self._wake(waiting.key)

    def _is_bound(self, process_id: str, ports: tuple[PortSpec, ...]) -> bool:
        """Only the default port counts: a game may bind the others on demand (behaviour.md 4.1)."""
        if not self._runtime.bound(process_id, ports[:1]):
            return False
        self._bound_at[process_id] = self._clock()
        self._waiting.pop(process_id, None)
        return True

    def _pause_s(self) -> float:
        youngest = self._monotonic() - max(waiting.since for waiting in self._waiting.values())
        return next(pause for age, pause in _CADENCE_S if youngest < age)
