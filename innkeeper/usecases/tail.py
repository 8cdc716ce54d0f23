"""The journal's end, read once for all who wait for it on this server: calls that wait, streams, webhooks.

It looks after each commit of this server, and a few times a second for those of others; and it rests while
nobody waits. Nothing is lost where it is late: the journal is the truth, and whoever waits looks there.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from innkeeper.core.errors import InnkeeperError
from innkeeper.core.events import Event
from innkeeper.interfaces import Store
from innkeeper.usecases import journal
from innkeeper.usecases.journal import Place

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TailPace:
    """``look_s``: how soon what other servers wrote is seen. ``gap_s``: the least time between two looks.
    ``page``: how many events are read at a time, and ``ahead_max``: how many wait for one who is slow.
    """

    look_s: float = 0.25
    gap_s: float = 0.003
    page: int = 500
    ahead_max: int = 1000


class Watch:
    """Tells that something happened to a room or its process; see :meth:`Tail.watch`."""

    def __init__(self, room_id: str, process_ids: Iterable[str | None]) -> None:
        self.room_id = room_id
        self.process_ids = {each for each in process_ids if each is not None}
        self._happened = asyncio.Event()

    async def changed(self, timeout_s: float) -> bool:
        """Wait until something may have happened since this was asked last; false where the time ran out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._happened.wait()
        happened = self._happened.is_set()
        self._happened.clear()
        return happened

    def tell(self) -> None:
        """Something may have happened."""
        self._happened.set()


class _Listener:
    """One who follows an org's events. ``waiting`` came and were not taken; where more came than may wait,
    it is ``behind``, and has to read the journal.
    """

    __slots__ = ("behind", "joined", "most", "waiting", "wants", "woken")

    def __init__(self, wants: Callable[[Event], bool], most: int) -> None:
        self.wants = wants
        self.most = most
        self.waiting: list[Event] = []
        self.behind = False
        self.joined = asyncio.Event()
        self.woken = asyncio.Event()

    def offer(self, event: Event) -> None:
        if self.behind or not self.wants(event):
            return
        self.waiting.append(event)
        if len(self.waiting) > self.most:
            self.waiting, self.behind = [], True
        self.woken.set()

    def take(self) -> list[Event]:
        taken, self.waiting = self.waiting, []
        self.woken.clear()
        return taken


class Tail:
    """The tail of one server. Belongs to the event loop in which it is first used."""

    def __init__(self, store: Store, pace: TailPace | None = None) -> None:
        self._store = store
        self._pace = pace or TailPace()
        self._place: Place | None = None
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False
        # By what they are about, so that an event finds them without asking each.
        self._of_room: dict[str, set[Watch]] = {}
        self._of_process: dict[str, set[Watch]] = {}
        self._of_org: dict[str, set[_Listener]] = {}
        store.after_commits(self._woken.set)

    @property
    def resting(self) -> bool:
        """Whether nobody waits, so that nothing is read."""
        return not (self._of_room or self._of_org)

    @property
    def held(self) -> int:
        """How many events wait for those who follow."""
        return sum(len(one.waiting) for those in self._of_org.values() for one in those)

    # ------------------------------------------------------------ those who wait

    @contextmanager
    def watch(self, room_id: str, *process_ids: str | None) -> Iterator[Watch]:
        """Be told when something happened to a room, or to a process that it is on.

        For a call that waits for a room. Watch first, and then look: whatever is committed from then on wakes
        you (now and then something does that changes nothing). A process that the room comes to be on later
        is found by itself::

            with services.tail.watch(room_id, process_id) as watch:
                until = loop.time() + wait_s
                while (placed := await store.read(look)) is not settled and loop.time() < until:
                    await watch.changed(until - loop.time())

        Within milliseconds of a commit of this server's, within :attr:`TailPace.look_s` of another's. It
        costs a look at the journal (one indexed read) after a commit, for all who watch together, and four
        looks a second.
        """
        watch = Watch(room_id, process_ids)
        self._of_room.setdefault(room_id, set()).add(watch)
        for process_id in watch.process_ids:
            self._of_process.setdefault(process_id, set()).add(watch)
        self._begin()
        try:
            yield watch
        finally:
            _drop(self._of_room, room_id, watch)
            for process_id in watch.process_ids:
                _drop(self._of_process, process_id, watch)
            self._woken.set()

    async def follow(
        self, org_id: str, place: Place, wants: Callable[[Event], bool], quiet_s: float
    ) -> AsyncGenerator[tuple[Place, list[Event]]]:
        """The org's events after ``place`` that are wanted, without end: (up to where, events), in order.

        Also with no event: while others are passed over, and after ``quiet_s`` without one. What a slow
        reader does not take is read from the journal again, so that nothing piles up. Raises what the
        journal's reading raises.
        """
        listener = _Listener(wants, self._pace.ahead_max)
        self._of_org.setdefault(org_id, set()).add(listener)
        self._begin()
        if self._place is not None:
            listener.joined.set()
        try:
            await listener.joined.wait()  # from here on, what comes is offered
            while True:
                listener.take()
                listener.behind = False
                while events := await self._page(place):
                    place = journal.place_of(events[-1])
                    yield place, [e for e in events if e.org_id == org_id and wants(e)]
                    if len(events) < self._pace.page:
                        break
                while not listener.behind:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(quiet_s):
                            await listener.woken.wait()
                    if not listener.behind:
                        fresh = [e for e in listener.take() if journal.place_of(e) > place]
                        place = max(place, self._place or place)
                        yield place, fresh
        finally:
            _drop(self._of_org, org_id, listener)
            self._woken.set()

    # ------------------------------------------------------------ looking

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._place = None
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """While somebody waits."""
        pace, soon_s = self._pace, self._pace.gap_s
        while not self.resting:
            hinted = self._woken.is_set()
            self._woken.clear()
            found = await self._look()
            # With several writers, what was just committed may be shown a little later.
            soon_s = pace.gap_s if found or hinted else min(soon_s * 2, pace.look_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(soon_s):
                    await self._woken.wait()
            if self._woken.is_set():
                await asyncio.sleep(pace.gap_s)

    async def _look(self) -> bool:
        """Hand out what came since the last look; true where there was something."""
        try:
            if self._place is None:
                self._place = await self._store.read(journal.newest)
                self._join()
                return True
            events = await self._page(self._place)
        except InnkeeperError as away:
            if not self._away:
                log.warning("the journal cannot be read: %s", away)
            self._away = True
            return False
        except Exception:
            # All who wait hang on this one task: they are told late, and not never.
            if not self._away:
                log.exception("a look at the journal broke off")
            self._away = True
            return False
        self._away = False
        if events:
            # In one step: whoever takes finds all up to this place.
            for event in events:
                self._hand_out(event)
            self._place = journal.place_of(events[-1])
        if len(events) == self._pace.page:
            self._woken.set()
        return bool(events)

    def _join(self) -> None:
        """We know where we stand. What came between their coming and this, they look for themselves."""
        for watches in self._of_room.values():
            for watch in watches:
                watch.tell()
        for listeners in self._of_org.values():
            for listener in listeners:
                listener.joined.set()

    def _hand_out(self, event: Event) -> None:
        if event.room_id is not None:
            for watch in self._of_room.get(event.room_id, ()):
                watch.tell()
                self._learn(watch, event.process_id)
        elif event.process_id is not None:
            for watch in self._of_process.get(event.process_id, ()):
                watch.tell()
        for listener in self._of_org.get(event.org_id, ()):
            listener.offer(event)

    def _learn(self, watch: Watch, process_id: str | None) -> None:
        if process_id is not None and process_id not in watch.process_ids:
            watch.process_ids.add(process_id)
            self._of_process.setdefault(process_id, set()).add(watch)

    async def _page(self, place: Place) -> list[Event]:
        most = self._pace.page
        return await self._store.read(lambda tx: journal.after(tx, place, most))


def _drop(those: dict[str, set[T]], key: str, one: T) -> None:
    those[key].discard(one)
    if not those[key]:
        del those[key]
