"""The sampler over a real store and a runtime that runs nothing."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.actions import RemoveRemains
from innkeeper.core.billing import month_start
from innkeeper.core.errors import RuntimeAway
from innkeeper.core.processes import Exit
from innkeeper.core.usage import UsageSeen
from innkeeper.reconciler.perform import Performer, Surroundings
from innkeeper.reconciler.sampling import AT_ONCE, Sampler, SamplerPace
from innkeeper.reconciler.watch import Watch
from innkeeper.runtime.fake import FakeHost, FakeRuntime
from innkeeper.store.opening import open_store
from innkeeper.testing.studio import Studio
from innkeeper.usecases import billing, lifecycle, processes


class CountingRuntime(FakeRuntime):
    """Remembers how many processes it was asked of at a go."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.asked: list[int] = []

    async def usage(self, process_ids: Collection[str]) -> Mapping[str, UsageSeen]:
        self.asked.append(len(process_ids))
        return await super().usage(process_ids)


class House:
    """Processes that run, a watch that sees them, and a sampler moved by hand."""

    def __init__(self, studio: Studio, logs: Any) -> None:
        self.studio = studio
        self.runtime = CountingRuntime(studio.clock, FakeHost())
        self.around = Surroundings(
            studio.store,
            self.runtime,
            logs,
            studio.clock,
            studio.ids,
            studio.policy,
            "192.0.2.1",
            lambda key: None,
        )
        self.watch = Watch(self.runtime, studio.clock, lambda: 0.0, lambda key: None)
        self.performer = Performer(self.around, self.watch)
        self.slept: list[float] = []
        self.sampler = self.make()

    def make(self) -> Sampler:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        return Sampler(self.around, self.watch, SamplerPace(10.0), sleep)

    async def start(self, count: int = 1) -> list[str]:
        deployment = await self.studio.deploy()
        context = self.studio.context()

        def make(tx: Any) -> str:
            return processes.new_process(
                tx, self.studio.caller.org_id, deployment, "Tokyo", None, context, "for a test"
            )

        started = [await self.studio.store.write(make) for _ in range(count)]
        for process_id in started:
            await self.performer._start(await self.process(process_id))
            await self.studio.store.write(
                lambda tx, p=process_id: lifecycle.record_started(
                    tx, p, deployment.deployment_id, self.studio.clock.now
                )
            )
        await self.watch.refresh()
        return started

    async def process(self, process_id: str) -> Any:
        return await self.studio.store.read(lambda tx: processes.find(tx, process_id))

    async def last(self, process_id: str) -> Any:
        return await self.studio.store.read(lambda tx: tx.one("usage.last", process_id=process_id))

    def use(self, process_id: str, *usage: int | None, connections: int | None = 0) -> None:
        fake = self.runtime.host.processes[process_id]
        fake.usage, fake.connections = UsageSeen(*usage), connections


class NoLogs:
    async def keep(self, process_id: str, source: object) -> None:
        return


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await open_store(tmp_path / "innkeeper.sqlite")
    yield House(await Studio(store).open(), NoLogs())
    await store.close()


async def test_what_runs_is_measured(house: House) -> None:
    (process_id,) = await house.start()
    house.use(process_id, 700, 4096, 123, connections=2)
    house.studio.clock.move(10)
    await house.sampler.tick()
    last = await house.last(process_id)
    assert (last["cpu_ms"], last["memory_bytes"], last["egress_bytes"]) == (700, 4096, 123)
    assert last["connections"] == 2
    usage = await house.studio.store.read(lambda tx: processes.usage_of(tx, process_id))
    assert (usage.active_connections, usage.egress_bytes) == (2, 123)


async def test_many_are_measured_some_at_a_go_and_the_work_is_spread(house: House) -> None:
    started = await house.start(AT_ONCE + 3)
    house.slept.clear()
    await house.sampler.tick()
    assert house.runtime.asked == [AT_ONCE, 3]
    assert house.slept == [2.5, 2.5]
    for process_id in started:
        assert await house.last(process_id) is not None


async def test_one_that_cannot_be_measured_is_seen_all_the_same(house: House) -> None:
    (process_id,) = await house.start()
    house.use(process_id, None, None, None, connections=None)
    await house.sampler.tick()
    last = await house.last(process_id)
    assert last["seen_at"] > 0
    assert (last["cpu_ms"], last["egress_bytes"], last["connections"]) == (None, None, None)


async def test_nothing_is_said_while_the_engine_is_away(house: House) -> None:
    (process_id,) = await house.start()
    house.watch.forget()
    await house.sampler.tick()
    assert await house.last(process_id) is None
    await house.watch.refresh()
    house.runtime.host.away = True
    with pytest.raises(RuntimeAway):
        await house.sampler.tick()


async def test_what_was_sent_at_the_end_is_kept(house: House) -> None:
    (process_id,) = await house.start()
    house.use(process_id, 1, 1, 100)
    await house.sampler.tick()
    house.use(process_id, None, None, 190)
    house.runtime.end(process_id, Exit(0, None, False, house.studio.clock.now))
    process = await house.studio.ask(processes.get_process, (house.studio.app_id, process_id))
    await house.performer.perform(RemoveRemains(process_id), process)
    assert (await house.last(process_id))["egress_bytes"] == 190
    # A new sampler knows nothing, and needs nothing.
    await house.watch.refresh()
    await house.make().tick()
    assert (await house.last(process_id))["egress_bytes"] == 190


async def test_the_books_close_a_month_once_what_ran_was_seen_after_it(house: House) -> None:
    studio = house.studio
    (process_id,) = await house.start()
    house.use(process_id, 1, 1, 5_000)
    await house.sampler.tick()
    studio.clock.now = month_start(202602)
    studio.clock.move(601)
    await house.sampler.keep_books()
    assert await studio.ask(billing.list_invoices, None) == []
    await house.watch.refresh()
    house.use(process_id, 1, 1, 8_000)
    await house.sampler.tick()
    await house.make().keep_books()
    await house.make().keep_books()
    (invoice,) = await studio.ask(billing.list_invoices, None)
    assert invoice.month == 202601
    details = await studio.store.read(lambda tx: billing.find_invoice(tx, invoice.invoice_id))
    assert details is not None
    assert [(line.kind, line.quantity) for line in details.items] == [
        ("vcpu", 12 * 3600 * 1000 * 500),
        ("egress", 5_000),
    ]
    upcoming = await studio.ask(billing.upcoming_items, None)
    assert [(line.kind, line.quantity) for line in upcoming] == [
        ("vcpu", 601 * 1000 * 500),
        ("egress", 3_000),
    ]


async def test_it_goes_on_after_a_failure(house: House, caplog: Any) -> None:
    (process_id,) = await house.start()
    house.runtime.host.away = True
    turns = 0

    async def sleep(seconds: float) -> None:
        nonlocal turns
        turns += 1
        house.runtime.host.away = False
        if turns > 6:
            raise asyncio.CancelledError

    sampler = Sampler(house.around, house.watch, SamplerPace(10.0), sleep, lambda: 0.0)
    with pytest.raises(asyncio.CancelledError):
        await sampler.run()
    assert "nothing is measured while the engine is away" in caplog.text
    assert await house.last(process_id) is not None
