"""A small world under a seed: requests, faults and crashes around the real core, use cases, loop and store.

Phase one: requests and faults, many at once, in simulated time. Phase two: faults off, and a bounded time to
come to rest; then the month ends. Safety is checked after every step (:mod:`innkeeper.testing.invariants`).
"""

import asyncio
import logging
import random
import sqlite3
import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

from innkeeper.core.actions import CreateProcess
from innkeeper.core.capacity import Machine
from innkeeper.core.ids import Ids
from innkeeper.core.moments import truncate
from innkeeper.interfaces import Tx
from innkeeper.store.migrate import migrate
from innkeeper.store.queries import Query
from innkeeper.store.sqlite import SqliteTx, connect
from innkeeper.testing.books import PRICES, Books, accounts
from innkeeper.testing.happenings import REGIONS, Happenings
from innkeeper.testing.invariants import Facts, Invariants, Told, check_rest, facts
from innkeeper.testing.journal_replay import JournalReplay
from innkeeper.testing.region_rules import RegionRules, check_wanted_at_rest, region_facts
from innkeeper.testing.simulated_engine import SimulatedEngine
from innkeeper.testing.simulated_program import KeptLogs, Program, Town
from innkeeper.testing.studio import START, Studio
from innkeeper.testing.virtual_loop import run_virtual
from innkeeper.testing.weather import Crashed, Weather
from innkeeper.usecases import journal, lifecycle, processes

T = TypeVar("T")

# At rest means that nothing is left to come: the clock is set forward step by step, by more in all than any
# timer of decide has, and each time the programs get a while to see it.
QUIET_STEPS, REST_STEPS, REST_STEP_S, REST_JUMP_S = 10, 400, 10.0, 40.0
# How long the engine may carry what nobody wants, beside the time between two looks, while it is calm.
ORPHANED_MAX_S = 10.0


class Onlooker:
    """Reads what is committed, outside of every program."""

    class _ReadTx(SqliteTx):
        __slots__ = ()

        def _before(self, query: Query) -> None:
            assert not query.writes, "whoever looks on changes nothing"

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self._tx = self._ReadTx(self._connection, path)

    def read(self, fn: Callable[[Tx], T]) -> T:
        """In one transaction."""
        self._tx.control("BEGIN")
        try:
            return fn(self._tx)
        finally:
            self._tx.control("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


class World:
    """One seed's history, in a database below ``directory``."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.seed = seed
        chance = random.Random(seed)
        begins = START + timedelta(hours=chance.choice([0, 11.9]))
        self.weather = weather = Weather(seed, begins)
        self.story = weather.story
        self.crashes = 0
        database = directory / f"world-{seed}.db"
        database.write_bytes(_empty_database())
        self._onlooker = Onlooker(database)
        self._engine = SimulatedEngine(weather, self._witness)
        small = Machine(cpu_millis=8_000, memory_mb=chance.choice([1_600, 4_096, 64_000]))
        self._begins = begins
        self._town = Town(
            weather,
            self._engine,
            _studio(weather, small, chance),
            database,
            alone=chance.random() < 0.7,
            observe_s=chance.choice([4.0, 15.0, 40.0]),
            batch_max=chance.choice([1, 4, 512]),
            sandboxes_ahead=chance.choice([0, 1]),
        )
        self._happenings = Happenings(self._town)
        self._invariants = Invariants(self._town.studio.policy.port_rest_s)
        self._journal, self._books = JournalReplay(), Books()
        self._regions = RegionRules(2 * self._town.observe_s)
        self._orphaned: dict[str, float] = {}
        self._closing = False

    def run(self, steps: int) -> None:
        """Both phases. Raises ``AssertionError`` with the end of the story where an invariant breaks."""
        with _Errors() as errors:
            self._errors = errors
            try:
                run_virtual(self._history(steps))
            except Exception as broken:
                told = "\n".join(self.story.lines[-60:])
                raise AssertionError(f"seed {self.seed}: {broken!r}\n{told}") from broken
            finally:
                self._onlooker.close()

    async def _history(self, steps: int) -> None:
        keepers = [asyncio.create_task(self._keep_running())]
        if not self._town.alone:
            keepers.append(asyncio.create_task(self._keep_running()))
        try:
            await self._set_up()
            self.weather.pick_storm()
            self.weather.set_fair(False)
            for _ in range(steps):
                await asyncio.sleep(
                    self.weather.chance.choice([0, 0, 0.01, 0.1, 0.5, 2, 5, 20, 90])
                )
                self._happenings.begin_one()
                self.check()
            self.weather.set_fair(True)
            self._engine.restart()
            await self._come_to_rest()
            await self._end_the_month()
        finally:
            self._closing = True
            for program in list(self._town.programs):
                await program.kill()
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            await self._engine.close()

    # ------------------------------------------------------------ programs

    async def _set_up(self) -> None:
        while not self._town.programs:  # noqa: ASYNC110 (simulated time)
            await asyncio.sleep(0.1)
        program = self._town.programs[0]
        studio = self._town.studio
        studio.store = program.store
        await studio.open()
        await self._happenings.deploy(program)

    async def _keep_running(self) -> None:
        """One program after the other: each begins some time after the one before was killed."""
        while not self._closing:
            program = Program(self._town)
            await program.begin()
            await program.died.wait()
            await program.kill()
            self.crashes += 1
            await asyncio.sleep(self.weather.chance.choice([0, 0.5, 5, 60]))
            self.weather.trouble()

    # ------------------------------------------------------------ checking

    def check(self) -> Facts:
        """Everything that must hold at every moment. Raises ``AssertionError``."""
        if self._engine.broken:
            raise self._engine.broken[0]
        assert not self._errors.told, f"it logged an error: {self._errors.told[0]}"
        told = Told(
            self._happenings.answered,
            self._happenings.refused,
            self._engine.vanished,
            asyncio.get_running_loop().time(),
            self.weather.clock.jumps,
        )
        org_id, clock = self._town.studio.caller.org_id, self.weather.clock()
        app_id = self._town.studio.app_id

        def read(tx: Tx) -> Facts:
            found = facts(tx)
            self._invariants.check(found, told)
            events = self._journal.read_on(tx)
            self._journal.check(found.processes, found.rooms)
            self._books.check(accounts(tx, org_id, self._begins, clock), found.processes)
            now = region_facts(tx, app_id, REGIONS, clock)
            self._regions.check(events, found, now, told.at_s)
            self._regions.check_overdue(now, clock, self._calm_s())
            self._check_bound(found)
            self._check_orphans({p.process_id for p in found.processes if not p.removed})
            return found

        return self._onlooker.read(read)

    def _check_bound(self, found: Facts) -> None:
        """Nothing is billed that players could not reach: told as long as nobody set the clock."""
        clock, engine = self.weather.clock, self._engine
        if clock.jumps:
            return
        for process in found.processes:
            twice = process.process_id in engine.vanished | engine.landed_late
            if process.started_at is not None and not twice:
                bound_at = clock.now + timedelta(seconds=engine.binds_at[process.process_id])
                assert process.started_at >= truncate(bound_at), f"started unbound: {process}"

    def _calm_s(self) -> float:
        """For how long somebody has reconciled, and nothing has gone wrong."""
        at_work = any(p.alive and p.reconciler is not None for p in self._town.programs)
        return self.weather.calm_s() if at_work else 0.0

    def _check_orphans(self, wanted: set[str]) -> None:
        now = asyncio.get_running_loop().time()
        orphans = self._engine.host.processes.keys() - wanted
        self._orphaned = {p: self._orphaned.get(p, now) for p in orphans}
        patience_s = ORPHANED_MAX_S + 2 * self._town.observe_s
        for process_id, since in self._orphaned.items():
            calm_s = min(now - since, self._calm_s())
            assert calm_s <= patience_s, f"{process_id} has had no owner for {calm_s:g} s of calm"

    def _witness(self, what: str, process_id: str) -> None:
        """Nothing is done to a game that was not recorded before."""
        process = self._onlooker.read(lambda tx: processes.find(tx, process_id))
        told = f"{what} of {process_id}, which is {process}"
        if what == "start":
            assert process is not None, told
            assert process.attempted_at is not None, told
        elif what == "signal":
            assert process is not None, told
            assert process.stopping_at is not None, told
        else:
            over = process is None or process.terminated_at is not None
            assert over or (process is not None and process.booted_at is None), told

    # ------------------------------------------------------------ the second phase

    async def _come_to_rest(self) -> None:
        """Without faults and requests everything ends where it is wanted, within a bounded time."""
        quiet, place = 0, (-1, -1)
        for step in range(REST_STEPS):
            if step in (1, 30):  # the last calls of the storm may only have begun to hang
                self._engine.restart()
            await asyncio.sleep(max(REST_STEP_S, self._town.observe_s * 1.5))
            self.weather.trouble()
            self.weather.clock.jump(REST_JUMP_S)
            self.check()
            newest = self._onlooker.read(journal.newest)
            same = newest == place and not self.weather.hanging and not self._busy()
            place, quiet = newest, quiet + 1 if same else 0
            if quiet == QUIET_STEPS:
                break
        else:
            raise AssertionError(f"no rest after {REST_STEPS} steps")
        app_id, clock = self._town.studio.app_id, self.weather.clock()
        found = self.check()
        wanted = self._onlooker.read(lambda tx: region_facts(tx, app_id, REGIONS, clock))
        held = {region for region, w in wanted.wanted.items() if w.hold is not None}
        check_rest(found, self._engine.host, held)
        check_wanted_at_rest(found, wanted)
        await self._check_nothing_is_decided(held)

    def _busy(self) -> bool:
        return any(p.busy for p in self._town.programs) or not self._town.programs

    async def _check_nothing_is_decided(self, held: Collection[str]) -> None:
        reconcilers = [p.reconciler for p in self._town.programs if p.reconciler is not None]
        assert reconcilers, "nobody reconciles"
        for key in self._onlooker.read(lifecycle.unfinished_keys):
            decided = await reconcilers[0].one_pass(key)
            if key[1] in held:  # it is tried again from time to time
                decided = [a for a in decided if not isinstance(a, CreateProcess)]
            assert not decided, f"at rest, and still it decides {decided}"

    async def _end_the_month(self) -> None:
        """What runs is billed up to the end of the month; the books are closed once."""
        clock = self.weather.clock
        month = clock() + timedelta(days=31)
        begin = month.replace(day=1, hour=0, minute=0, second=0)
        clock.jump((begin - clock()).total_seconds() - 30)
        for jump_s in (0, 0, 300, 300, 0, 0, 0):
            await asyncio.sleep(max(40, self._town.observe_s * 1.5))
            self.weather.trouble()
            clock.jump(jump_s)
            found = self.check()
        if any(process.started_at for process in found.processes):
            invoices = self._onlooker.read(lambda tx: tx.all("invariants.invoices"))
            months = [row["month"] for row in invoices]
            assert months, "a month was over, and never closed"


class _Errors(logging.Handler):
    """What the control plane logs as an error: it met something that nobody had thought of."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []
        self._logger = logging.getLogger("innkeeper.reconciler")

    def emit(self, record: logging.LogRecord) -> None:
        """Remember it, with its cause."""
        self.told.append(logging.Formatter().format(record))

    def __enter__(self) -> "_Errors":
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)


def _studio(weather: Weather, machine: Machine, chance: random.Random) -> Studio:
    studio = Studio(
        None,  # type: ignore[arg-type]  # the first program's
        clock=weather.clock,
        ids=Ids(chance.getrandbits),
        machine=machine,
    )
    studio.policy = replace(studio.policy, prices=PRICES)
    return studio


@cache
def _empty_database() -> bytes:
    """A migrated database: making one costs more than a history."""
    with tempfile.TemporaryDirectory(prefix="innkeeper-world-") as directory:
        path = Path(directory) / "empty.db"
        migrate(path)
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return path.read_bytes()


__all__ = ["Crashed", "KeptLogs", "World"]
