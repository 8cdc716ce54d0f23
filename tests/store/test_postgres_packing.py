"""Several servers on one PostgreSQL: packing is exact, nothing is given twice, no app waits for another."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from innkeeper.core.catalog import Deployment
from innkeeper.core.errors import ConstraintBroken, StateConflict, Unavailable
from innkeeper.core.ids import Ids
from innkeeper.interfaces import Context, LockKey, Tx
from innkeeper.store import postgres_writes
from innkeeper.store.postgres import PostgresStore
from innkeeper.testing.postgres_server import PostgresServer
from innkeeper.testing.studio import PORTS, TOKEN, Studio
from innkeeper.usecases import apps, installation, lifecycle, rooms
from innkeeper.usecases import processes as processes_
from innkeeper.usecases.rooms import NewRoom, PlacedRoom

SERVERS = 3
ROOMS_PER_PROCESS = 3
REGION = "Tokyo"


class Town:
    """Some servers, each with a store of its own, and two apps with a deployment each."""

    def __init__(
        self, studio: Studio, stores: list[PostgresStore], app_ids: tuple[str, str]
    ) -> None:
        self.studio = studio
        self.stores = stores
        self.app_ids = app_ids
        self.ids = Ids(random.SystemRandom().getrandbits)

    def context(self) -> Context:
        """Of a server: ids that no other one draws."""
        return Context(self.studio.clock(), self.ids, self.studio.policy)

    async def create(self, server: int, app_id: str, room_id: str | None = None) -> PlacedRoom:
        """CreateRoom, asked of one of the servers."""
        wanted = NewRoom(app_id, REGION, room_id)
        job = partial(
            rooms.create_room, caller=self.studio.caller, wanted=wanted, context=self.context()
        )
        return await self.stores[server].write(job, locks=[(app_id, REGION)])

    async def destroy(self, server: int, app_id: str, room_id: str) -> None:
        """DestroyRoom, likewise."""
        job = partial(
            rooms.destroy_room,
            caller=self.studio.caller, wanted=(app_id, room_id), context=self.context(),
        )  # fmt: skip
        await self.stores[server].write(job, locks=[(app_id, REGION)])


@pytest.fixture
async def town(postgres: PostgresServer, postgres_database: str) -> AsyncIterator[Town]:
    """Three servers."""
    stores = [PostgresStore(postgres.url(postgres_database)) for _ in range(SERVERS)]
    for store in stores:
        await store.open()
    studio = await Studio(stores[0]).open()
    first = studio.app_id
    await studio.deploy(rooms_per_process=ROOMS_PER_PROCESS, cpu=0.25, memory_mb=512)
    studio.app = await studio.ask(apps.create_app, apps.NewApp("other", {}))
    await studio.deploy(rooms_per_process=ROOMS_PER_PROCESS, cpu=0.25, memory_mb=512)
    yield Town(studio, stores, (first, studio.app_id))
    await asyncio.gather(*(store.close() for store in stores))


async def test_no_needless_process_and_no_overfull_one(town: Town) -> None:
    count = 40
    asked = [(n % SERVERS, app_id) for n in range(count) for app_id in town.app_ids]
    placed = await asyncio.gather(*(town.create(*each) for each in asked))
    held = Counter(room.process_id for room in placed)
    # As few processes as there can be: all but one of each app are full.
    full, rest = divmod(count, ROOMS_PER_PROCESS)
    assert rest
    assert sorted(held.values()) == [rest] * 2 + [ROOMS_PER_PROCESS] * 2 * full
    await _check(town, len(placed))


async def test_a_slot_of_a_process_that_another_server_is_making_is_waited_for(
    town: Town, postgres: PostgresServer, postgres_database: str
) -> None:
    app_id = town.app_ids[0]
    made: list[PlacedRoom] = []
    release = asyncio.Event()

    def make(tx: Tx) -> None:
        made.append(
            rooms.create_room(tx, town.studio.caller, NewRoom(app_id, REGION), town.context())
        )

    async with _held(town, 1, make, ((app_id, REGION),), release):
        waits = asyncio.ensure_future(town.create(0, app_id))
        await _until_somebody_waits(postgres, postgres_database)
        release.set()
    assert (await waits).process_id == made[0].process_id


@pytest.mark.parametrize("seed", range(3))
async def test_slots_stay_exact_while_rooms_come_and_go(town: Town, seed: int) -> None:
    async def caller(chance: random.Random) -> int:
        mine: list[tuple[str, str]] = []
        for _ in range(25):
            server = chance.randrange(SERVERS)
            if mine and chance.random() < 0.45:
                await town.destroy(server, *mine.pop(chance.randrange(len(mine))))
            else:
                app_id = chance.choice(town.app_ids)
                mine.append((app_id, (await town.create(server, app_id)).room_id))
        return len(mine)

    live = await asyncio.gather(*(caller(random.Random(seed * 100 + n)) for n in range(12)))
    await _check(town, sum(live))


async def test_slots_stay_exact_while_connections_end(
    town: Town, postgres: PostgresServer, postgres_database: str
) -> None:
    live: set[str] = set()
    ended: set[str] = set()
    unknown: set[str] = set()

    async def caller(chance: random.Random, name: str) -> None:
        for number in range(20):
            server, app_id = chance.randrange(SERVERS), chance.choice(town.app_ids)
            room_id = f"{name}-{number}"
            unknown.add(room_id)
            with suppress(Unavailable):
                await town.create(server, app_id, room_id)
                live.add(room_id)
                if chance.random() < 0.5:
                    live.remove(room_id)
                    await town.destroy(server, app_id, room_id)
                    ended.add(room_id)
                unknown.remove(room_id)

    callers = [asyncio.ensure_future(caller(random.Random(n), f"room-{n}")) for n in range(12)]
    with postgres.connect(postgres_database) as operator:
        while not all(each.done() for each in callers):
            operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.3"
            )
            await asyncio.wait(callers, timeout=0.05)
    await asyncio.gather(*callers)
    kept = await town.stores[0].read(lambda tx: tx.all("invariants.rooms"))
    status = {room["room_id"]: room["status"] for room in kept}
    assert {room_id for room_id in live if status.get(room_id) != "active"} == set()
    assert {room_id for room_id in ended if status.get(room_id) != "destroyed"} == set()
    active = {room_id for room_id, stands in status.items() if stands == "active"}
    assert active <= live | unknown
    await _check(town, len(active))


async def _check(town: Town, live: int) -> None:
    """Slots, rooms, ports and promises agree."""
    look = town.stores[0].read
    processes = await look(lambda tx: tx.all("invariants.processes"))
    kept = await look(lambda tx: tx.all("invariants.rooms"))
    on = Counter(room["process_id"] for room in kept if room["status"] == "active")
    assert sum(on.values()) == live
    for process in processes:
        assert process["rooms_allocated"] == on[process["process_id"]] <= ROOMS_PER_PROCESS
    owned = {
        row["port"]: row["owner"] for row in await look(lambda tx: tx.all("invariants.owned_ports"))
    }
    shown = [
        (port.port, process["process_id"])
        for process in processes
        for port in processes_.exposed_ports(process["exposed_ports"])
    ]
    assert len(shown) == len(processes)
    assert dict(shown) == owned, "no port twice"
    machine = await look(lambda tx: tx.one("capacity.machine"))
    assert machine is not None
    assert machine["cpu_millis_promised"] == sum(process["cpu_millis"] for process in processes)


async def test_one_room_id_is_given_once(town: Town) -> None:
    app_id = town.app_ids[0]
    for attempt in range(5):
        asked = (town.create(n % SERVERS, app_id, f"room-{attempt}") for n in range(6))
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        kinds = Counter(type(outcome) for outcome in outcomes)
        assert kinds == {PlacedRoom: 1, StateConflict: 5}, outcomes


async def test_one_name_is_given_once(town: Town) -> None:
    def named(tx: Tx) -> object:
        return apps.create_app(tx, town.studio.caller, apps.NewApp("twin", {}), town.context())

    outcomes = await asyncio.gather(*(s.write(named) for s in town.stores), return_exceptions=True)
    assert sum(isinstance(outcome, Exception) for outcome in outcomes) == SERVERS - 1
    assert not any(isinstance(outcome, ConstraintBroken) for outcome in outcomes), outcomes


async def test_deployments_are_numbered_without_a_gap_or_twin(town: Town) -> None:
    studios = [
        Studio(store, town.studio.clock, town.ids, app=town.studio.app, caller=town.studio.caller)
        for store in town.stores
    ]
    made: list[Deployment] = await asyncio.gather(*(studio.deploy() for studio in studios * 3))
    assert sorted(deployment.number for deployment in made) == list(range(2, 2 + len(made)))


async def test_servers_that_start_first_at_once_make_one_installation(
    postgres: PostgresServer, postgres_database: str
) -> None:
    stores = [PostgresStore(postgres.url(postgres_database)) for _ in range(SERVERS)]
    for store in stores:
        await store.open()
    studios = [
        Studio(store, ids=Ids(random.Random(number).getrandbits))
        for number, store in enumerate(stores)
    ]

    def seed(tx: Tx, studio: Studio) -> str:
        made = installation.seed_installation(tx, studio.context(), studio.machine, *PORTS)
        installation.ensure_admin(tx, studio.context(), TOKEN)
        return made.installation_id

    seeds = (studio.store.write(partial(seed, studio=studio)) for studio in studios)
    assert len(set(await asyncio.gather(*seeds))) == 1
    assert await stores[0].read(lambda tx: tx.one("orgs.count")) == {"count": 1}
    await asyncio.gather(*(store.close() for store in stores))


# ---------------------------------------------------------------- who waits for whom


async def test_a_held_lock_of_one_app_holds_up_no_other(town: Town) -> None:
    held, free = town.app_ids
    release = asyncio.Event()
    async with _held(town, 1, _nothing, [(held, REGION)], release):
        waits = asyncio.ensure_future(town.create(0, held))
        for _ in range(20):
            assert (await town.create(0, free)).process_id is not None
        assert not waits.done()
        release.set()
    assert (await waits).process_id is not None


async def test_one_that_is_held_for_too_long_is_given_up(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writes, "PATIENCE_MS", 20)
    held, free = town.app_ids
    async with _held(town, 1, _nothing, [(held, REGION)], asyncio.Event()):
        waits = asyncio.ensure_future(town.create(0, held))
        await town.create(0, free)
        with pytest.raises(Unavailable, match="another server has held this app's allocations"):
            await waits
    await town.create(0, held)


async def test_a_free_slot_is_given_while_somebody_holds_the_machines_row(town: Town) -> None:
    busy, open_ = town.app_ids
    town.studio.app = await town.studio.ask(apps.create_app, apps.NewApp("third", {}))
    await town.studio.deploy()
    await town.create(0, open_)
    release = asyncio.Event()

    def hold(tx: Tx) -> None:
        tx.one("capacity.lock")

    ended = await town.create(0, busy)
    assert ended.process_id is not None
    end = partial(
        lifecycle.record_terminated, process_id=ended.process_id, exit_=None, context=town.context()
    )
    async with _held(town, 1, hold, (), release):
        waiting = [
            asyncio.ensure_future(town.stores[0].write(end, locks=[(busy, REGION)])),
            asyncio.ensure_future(town.create(0, town.studio.app_id)),
        ]
        for _ in range(ROOMS_PER_PROCESS - 1):
            await town.create(0, open_)
        assert not any(each.done() for each in waiting)
        release.set()
    await asyncio.gather(*waiting)


async def test_servers_that_lock_each_others_rows_crosswise_both_succeed(town: Town) -> None:
    meet = [asyncio.Event(), asyncio.Event()]
    loop = asyncio.get_running_loop()
    runs = [0, 0]

    def crossing(me: int) -> Callable[[Tx], int]:
        orgs = ("org-a", "org-b") if me == 0 else ("org-b", "org-a")

        def write(tx: Tx) -> int:
            runs[me] += 1
            tx.run("orgs.set_memory_max", org_id=orgs[0], max_requested_memory_mb=me)
            if runs == [1, 1] or runs[me] == 1:
                loop.call_soon_threadsafe(meet[me].set)
                asyncio.run_coroutine_threadsafe(meet[1 - me].wait(), loop).result(10)
            return tx.run("orgs.set_memory_max", org_id=orgs[1], max_requested_memory_mb=me)

        return write

    def make(tx: Tx) -> None:
        for org_id in ("org-a", "org-b"):
            tx.run("orgs.insert", org_id=org_id, name="o", max_requested_memory_mb=1, created_at=0)

    await town.stores[0].write(make)
    assert await asyncio.gather(*(town.stores[n].write(crossing(n)) for n in (0, 1))) == [1, 1]
    # Which of them is undone, and whether the other one is after it, is PostgreSQL's choice.
    assert max(runs) >= 2, "one of the two was undone, and run again"


async def test_a_row_that_somebody_stops_meanwhile_is_passed_over(
    town: Town, postgres: PostgresServer, postgres_database: str
) -> None:
    """What the reconciler marks must not get a room, even where it holds no lock."""
    app_id = town.app_ids[0]
    first = await town.create(0, app_id)
    with postgres.connect(postgres_database) as other, other.transaction():
        other.execute(
            "UPDATE processes SET accepting = 0 WHERE process_id = %s", (first.process_id,)
        )
        waits = asyncio.ensure_future(town.create(0, app_id))
        await _until_somebody_waits(postgres, postgres_database)
    assert (await waits).process_id != first.process_id


def _nothing(tx: Tx) -> None:
    """A write that only has its locks."""


async def _until_somebody_waits(postgres: PostgresServer, database: str) -> None:
    with postgres.connect(database) as looking:
        for _ in range(10_000):
            found = looking.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            if found != (0,):
                return
            await asyncio.sleep(0)
    raise AssertionError("nobody waits")


@asynccontextmanager
async def _held(
    town: Town,
    server: int,
    job: Callable[[Tx], object],
    locks: Collection[LockKey],
    release: asyncio.Event,
) -> AsyncIterator[None]:
    """A write of another server that stands still with these locks, until ``release`` or it is left."""
    loop, entered = asyncio.get_running_loop(), asyncio.Event()

    def stand_still(tx: Tx) -> None:
        job(tx)
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(60)

    writing = asyncio.ensure_future(town.stores[server].write(stand_still, locks))
    await entered.wait()
    try:
        yield
    finally:
        release.set()
        await writing
