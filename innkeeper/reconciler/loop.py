"""The loop: wake-ups are hints, a timer finds the same work. One control plane runs one loop."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import partial

from innkeeper.core.actions import Action, RegionAction
from innkeeper.core.decide import decide
from innkeeper.core.errors import InnkeeperError, RuntimeAway
from innkeeper.core.orphans import orphans
from innkeeper.core.processes import Process
from innkeeper.core.snapshot import Snapshot
from innkeeper.interfaces import PortSpec
from innkeeper.reconciler.patience import answered
from innkeeper.reconciler.perform import Performer, Surroundings
from innkeeper.reconciler.sandboxes import SandboxKeeper
from innkeeper.reconciler.specs import port_specs
from innkeeper.reconciler.watch import Watch
from innkeeper.usecases import lifecycle

log = logging.getLogger(__name__)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the loop looks by itself, in seconds."""

    observe_s: float = 2.0
    sweep_s: float = 60.0
    away_s: float = 1.0
    hint_delay_s: float = 0.02
    bind_patience_s: float = 0.005


class Reconciler:
    """Runs passes for keys (app id, region) that changed, and for all of them every few seconds."""

    def __init__(
        self,
        around: Surroundings,
        sandboxes: SandboxKeeper | None,
        sweeps: list[Callable[[], Awaitable[object]]],
        pace: Pace | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._around = around
        self._sandboxes = sandboxes
        self._sweeps = sweeps
        self._pace = pace or Pace()
        self._dirty: dict[Key, None] = {}
        self._woken = asyncio.Event()
        self._look_again = asyncio.Event()
        self._stock = asyncio.Event()
        self._busy: set[Hashable] = set()
        self._known: dict[Key, lifecycle.Known] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._monotonic = monotonic
        self.watch = Watch(around.runtime, around.clock, monotonic, self.wake)
        self._performer = Performer(around, self.watch, bind_patience_s=self._pace.bind_patience_s)

    def wake(self, key: Key) -> None:
        """A hint that something about this app in this region changed."""
        self._dirty[key] = None
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. What a pass began is finished or repeated by whoever runs next."""
        loops = [
            self._observing(),
            self._passing(),
            self._hearing(),
            self._sweeping(),
            self.watch.run(),
        ]
        if self._sandboxes is not None:
            loops.append(self._stocking(self._sandboxes))
        try:
            async with asyncio.TaskGroup() as group:
                for one in loops:
                    group.create_task(one)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def take_dirty(self) -> list[Key]:
        """The keys that want a pass, each once; they are forgotten."""
        keys, self._dirty = list(self._dirty), {}
        return keys

    def tasks(self) -> set[asyncio.Task[None]]:
        """The actions that are being performed."""
        return set(self._tasks)

    async def one_pass(self, key: Key) -> list[Action]:
        """Load, decide, and hand each action to a task of its own; returns what was decided."""
        around = self._around
        known = self._known.get(key, {})
        loaded = await around.store.read(lambda tx: lifecycle.load(tx, key, around.clock(), known))
        self._known[key] = loaded.known
        if not loaded.known:
            del self._known[key]
        # The sockets of most are not looked at: those that run and hold rooms.
        ports = {
            p.process_id: self._ports(p, loaded)
            for p in loaded.processes
            if p.started_at is None or not p.rooms_allocated
        }
        snapshot = Snapshot(
            app_deleted=loaded.app_deleted,
            processes=loaded.processes,
            deployments=loaded.deployments,
            observation=self.watch.observation(loaded.processes, ports),
            limits=around.policy.limits,
            wanted=loaded.wanted,
            waiting=loaded.waiting,
        )
        by_id = {p.process_id: p for p in loaded.processes}
        for process in loaded.processes:
            if process.status == "starting" and process.booted_at is not None:
                self.watch.expect_bind(key, process.process_id, ports[process.process_id])
        actions = decide(snapshot, around.clock())
        for action in actions:
            if isinstance(action, RegionAction):
                work = partial(self._performer.perform_in, key, action)
                self._hand_out(key, (key, action), _told(action, key), work)
            else:
                process_id = action.process_id
                work = partial(self._performer.perform, action, by_id[process_id])
                self._hand_out(key, process_id, _told(action, process_id), work)
        return actions

    def _ports(self, process: Process, loaded: lifecycle.Loaded) -> tuple[PortSpec, ...]:
        inside = loaded.ports[process.deployment_id]
        return port_specs(inside, tuple(port.port for port in process.exposed_ports))

    def _hand_out(
        self, key: Key, about: Hashable, told: str, work: Callable[[], Awaitable[bool]]
    ) -> None:
        """Let a task do it, unless one is at work on the same."""
        if about in self._busy:
            return
        self._busy.add(about)
        task = asyncio.create_task(self._perform(key, about, told, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _perform(
        self, key: Key, about: Hashable, told: str, work: Callable[[], Awaitable[bool]]
    ) -> None:
        try:
            if await work():
                self.wake(key)
        except RuntimeAway as away:
            # Nothing is known until the engine answers; the next listing finds the same work.
            log.warning("%s waits: %s", told, away)
            self.watch.forget()
        except InnkeeperError as error:
            log.warning("%s failed: %s", told, error)
        except Exception:
            log.exception("%s failed", told)
        finally:
            self._busy.discard(about)
            if self._sandboxes is not None:
                self._stock.set()

    async def _passing(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            for key in self.take_dirty():
                began = self._monotonic()
                try:
                    await self.one_pass(key)
                except (InnkeeperError, OSError) as error:
                    log.warning("the pass of %s in %s failed: %s", *key, error)
                except Exception:
                    # One app's trouble must not keep all the others from theirs.
                    log.exception("the pass of %s in %s failed", *key)
                # A large app is looked at less often, so that requests keep most of the time.
                took_s = self._monotonic() - began
                await asyncio.sleep(took_s * 2 if took_s > 0.02 else 0)

    async def _observing(self) -> None:
        while True:
            try:
                await self.observe_once()
            except RuntimeAway as away:
                log.warning("the engine is away: %s", away)
                await asyncio.sleep(self._pace.away_s)
                continue
            except (InnkeeperError, OSError) as error:
                log.warning("could not look at what runs: %s", error)
            # Not wait_for: where a hint arrives as we are cancelled, it goes on as if we were not.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.observe_s):
                    await self._look_again.wait()
                # Hints come in bursts; one listing serves them all.
                await asyncio.sleep(self._pace.hint_delay_s)
            self._look_again.clear()

    async def observe_once(self) -> None:
        """One listing; then what nobody owns is removed, and every key with work gets a pass."""
        around = self._around
        listing = await self.watch.refresh()
        wanted = await around.store.read(lifecycle.unfinished_ids)
        for process_id in orphans(listing.processes, wanted):
            log.warning("process %s has no record: removing it", process_id)
            await answered(around.runtime.remove(process_id))
            await around.record(partial(lifecycle.record_orphan, process_id=process_id))
        self._stock.set()
        for key in await around.store.read(lifecycle.unfinished_keys):
            self.wake(key)

    async def _hearing(self) -> None:
        async for _ in self._around.runtime.changes():
            self._look_again.set()

    async def _stocking(self, keeper: SandboxKeeper) -> None:
        while True:
            await self._stock.wait()
            self._stock.clear()
            # A start that a player waits for comes first, but not for ever.
            for _ in range(20):
                if not self._performer.starting:
                    break
                await asyncio.sleep(0.05)
            try:
                shown = self.watch.sandboxes()
                if shown is not None and await keeper.keep(*shown):
                    self._stock.set()
            except (InnkeeperError, OSError) as error:
                log.warning("could not keep sandboxes: %s", error)
                await asyncio.sleep(self._pace.away_s)

    async def _sweeping(self) -> None:
        while True:
            for sweep in self._sweeps:
                try:
                    await sweep()
                except (InnkeeperError, OSError) as error:
                    log.warning("a sweep failed: %s", error)
            await asyncio.sleep(self._pace.sweep_s)


def _told(action: Action, about: object) -> str:
    return f"{type(action).__name__} of {about}"
