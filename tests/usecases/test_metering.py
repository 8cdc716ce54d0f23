"""Measurements in the store: totals, samples, thinning out, and what a client is shown."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from innkeeper.core.billing import Prices
from innkeeper.core.errors import Exhausted, Invalid, NotFound, PaymentRequired
from innkeeper.core.moments import from_ms
from innkeeper.core.usage import TIERS
from innkeeper.testing.studio import Studio
from innkeeper.usecases import billing, lifecycle, limits, metered_months, metering, processes
from innkeeper.usecases.metering import Measured, MetricsWanted

ALL = ("cpu", "memory", "rate_egress", "total_egress", "active_connections")


class Meter:
    """A running process, and measurements of it."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.process_id = ""

    async def start(self, cpu: float = 0.5) -> "Meter":
        deployment = await self.studio.deploy(cpu=cpu)
        context = self.studio.context()

        def make(tx: Any) -> str:
            process_id = processes.new_process(
                tx, self.studio.caller.org_id, deployment, "Tokyo", None, context, "for a test"
            )
            lifecycle.record_attempt(tx, process_id, context.now)
            lifecycle.record_booted(tx, process_id, context.now)
            lifecycle.record_started(tx, process_id, deployment.deployment_id, context.now)
            return process_id

        self.process_id = await self.studio.store.write(make)
        return self

    def seen(self, **changes: Any) -> Measured:
        now = self.studio.clock.now
        whole = Measured(
            self.process_id, self.studio.caller.org_id, self.studio.app_id, now, now, 0, 0, 0, 0
        )
        return replace(whole, **changes)

    async def measure(self, **changes: Any) -> None:
        one = self.seen(**changes)
        await self.studio.store.write(lambda tx: metering.record(tx, [one]))

    async def books(self) -> None:
        now = self.studio.clock.now
        while await self.studio.store.write(lambda tx: metering.forget(tx, now)):
            pass

    async def shown(self, names: tuple[Any, ...] = ALL, **changes: Any) -> dict[Any, Any]:
        wanted = MetricsWanted(self.studio.app_id, self.process_id, names, **changes)
        found: dict[Any, Any] = await self.studio.ask(metering.process_metrics, wanted)
        return found

    async def rows(self, step_s: int) -> list[Any]:
        return list(
            await self.studio.store.read(
                lambda tx: tx.all(
                    "usage.samples",
                    process_id=self.process_id,
                    step_s=step_s,
                    since=0,
                    until=2**60,
                )
            )
        )

    async def egress(self, month: int) -> int:
        caller, context = self.studio.caller, self.studio.context()
        usage = await self.studio.store.read(
            lambda tx: metered_months.month_usage(tx, caller.org_id, month, context.now)
        )
        return sum(app.egress_bytes for app in usage)


@pytest.fixture
async def meter(studio: Studio) -> Meter:
    return await Meter(studio).start()


async def test_the_series_of_an_hour(meter: Meter) -> None:
    for tick in range(1, 13):
        meter.studio.clock.move(10)
        await meter.measure(
            cpu_ms=tick * 2500, memory_bytes=1000 + tick, egress_bytes=tick * 500, connections=2
        )
    end = meter.studio.clock.now.timestamp()
    shown = await meter.shown()
    assert [value for _, value in shown["cpu"]] == [50.0, 50.0]
    assert shown["memory"] == [(round(end * 1000) - 60_000, 1006), (round(end * 1000), 1012)]
    assert [value for _, value in shown["rate_egress"]] == [50.0, 50.0]
    assert [value for _, value in shown["total_egress"]] == [3000, 6000]
    assert [value for _, value in shown["active_connections"]] == [2, 2]


async def test_only_what_was_asked_for(meter: Meter) -> None:
    assert set(await meter.shown(("memory",))) == {"memory"}


async def test_a_starting_process_has_nothing_to_show(studio: Studio) -> None:
    meter = Meter(studio)
    deployment = await studio.deploy()
    context = studio.context()
    meter.process_id = await studio.store.write(
        lambda tx: processes.new_process(
            tx, studio.caller.org_id, deployment, "Tokyo", None, context, "for a test"
        )
    )
    assert await meter.shown() == {name: [] for name in ALL}


async def test_what_cannot_be_measured_is_not_shown(meter: Meter) -> None:
    meter.studio.clock.move(10)
    await meter.measure(cpu_ms=None, memory_bytes=5, egress_bytes=None, connections=None)
    shown = await meter.shown()
    assert [len(shown[name]) for name in ALL] == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"start_s": 100.0, "end_s": 99.0}, "query.start"),
        ({"start_s": 1.8e12}, "query.start"),
        ({"start_s": -1e300, "end_s": 1e300}, "query.start"),
        ({"end_s": 1e12}, "query.start"),
        ({"step_s": 0}, "query.step"),
        ({"step_s": -60}, "query.step"),
        ({"start_s": 0.0, "end_s": 11_001.0, "step_s": 1}, "query.step"),
    ],
)
async def test_windows_that_cannot_be(meter: Meter, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await meter.shown(**changes)
    assert refusal.value.field == field


async def test_windows_at_the_edge(meter: Meter) -> None:
    await meter.shown(start_s=0.0, end_s=11_000.0, step_s=1)
    await meter.shown(start_s=1.5, end_s=1.5)
    await meter.shown(start_s=-5.0, end_s=2**40 / 1000, step_s=2**53 - 1)


async def test_of_another_app_or_organization(meter: Meter) -> None:
    for app_id, process_id in (("app-x", meter.process_id), (meter.studio.app_id, "p-x")):
        wanted = MetricsWanted(app_id, process_id, ())
        with pytest.raises(NotFound):
            await meter.studio.ask(metering.process_metrics, wanted)


async def test_counters_never_go_back(meter: Meter) -> None:
    meter.studio.clock.move(10)
    await meter.measure(cpu_ms=900, egress_bytes=900)
    meter.studio.clock.move(10)
    await meter.measure(cpu_ms=100, egress_bytes=100)
    meter.studio.clock.move(10)
    await meter.measure(cpu_ms=None, egress_bytes=None)
    usage = await meter.studio.store.read(lambda tx: processes.usage_of(tx, meter.process_id))
    assert usage.egress_bytes == 900
    assert await meter.egress(202601) == 900
    await meter.measure(egress_bytes=1000)
    assert await meter.egress(202601) == 1000


async def test_the_same_measurement_twice_counts_once(meter: Meter) -> None:
    meter.studio.clock.move(10)
    await meter.measure(egress_bytes=700)
    await meter.measure(egress_bytes=700)
    assert await meter.egress(202601) == 700
    assert len(await meter.rows(10)) == 1


async def test_egress_counts_in_the_month_it_was_seen_in(meter: Meter) -> None:
    await meter.measure(egress_bytes=100)
    meter.studio.clock.now = datetime.fromisoformat("2026-02-01T00:00:00Z")
    await meter.measure(egress_bytes=250)
    assert (await meter.egress(202601), await meter.egress(202602)) == (100, 150)


async def test_the_end_of_the_totals(meter: Meter) -> None:
    meter.studio.clock.move(10)
    await meter.measure(egress_bytes=100, connections=3)
    before = await meter.studio.store.read(
        lambda tx: tx.one("usage.last", process_id=meter.process_id)
    )
    meter.studio.clock.move(5)
    now = meter.studio.clock.now
    await meter.studio.store.write(
        lambda tx: metering.record_last(tx, meter.process_id, None, 170, now)
    )
    await meter.studio.store.write(lambda tx: metering.record_last(tx, "gone", 1, 1, now))
    last = await meter.studio.store.read(
        lambda tx: tx.one("usage.last", process_id=meter.process_id)
    )
    assert before is not None
    assert last is not None
    assert (last["egress_bytes"], last["connections"], last["cpu_ms"]) == (170, None, 0)
    assert last["seen_at"] == before["seen_at"], "its end does not say that it ran"
    assert len(await meter.rows(10)) == 1
    assert await meter.egress(202601) == 170


async def test_connections_say_when_they_changed(meter: Meter) -> None:
    moments = []
    for connections in (0, 0, 2, 2, None):
        meter.studio.clock.move(10)
        await meter.measure(connections=connections)
        usage = await meter.studio.store.read(lambda tx: processes.usage_of(tx, meter.process_id))
        assert usage.active_connections == (connections or 0)
        moments.append(usage.measured_at)
    assert moments[0] == moments[1] < moments[2] == moments[3] < moments[4]


async def test_old_samples_are_thinned_out_and_stay_bounded(meter: Meter) -> None:
    clock, began = meter.studio.clock, meter.studio.clock.now
    hours = 27
    for tick in range(1, hours * 60 + 1):
        clock.move(60)
        await meter.measure(cpu_ms=tick * 600, egress_bytes=tick * 6000, memory_bytes=tick)
        if tick % 30 == 0:
            await meter.books()
    await meter.books()
    await meter.books()
    for tier in TIERS:
        rows = await meter.rows(tier.step_s)
        assert len(rows) <= tier.kept.total_seconds() / tier.step_s + 2
        assert clock.now - from_ms(rows[0]["at"]) <= tier.kept + timedelta(seconds=tier.step_s + 60)
    shown = await meter.shown(
        ("rate_egress", "memory"),
        start_s=began.timestamp() + 3600,
        end_s=clock.now.timestamp(),
        step_s=3600,
    )
    assert len(shown["rate_egress"]) == hours
    assert all(value == pytest.approx(100) for _, value in shown["rate_egress"])
    assert [value for _, value in shown["memory"]] == sorted(v for _, v in shown["memory"])


async def test_coarser_samples_hold_the_last_counters_and_the_most_of_the_rest(
    meter: Meter,
) -> None:
    for tick in range(70):
        meter.studio.clock.move(10)
        await meter.measure(cpu_ms=tick, memory_bytes=100 - tick)
    minutes = await meter.rows(60)
    assert [(row["cpu_ms"], row["memory_bytes"]) for row in minutes][:2] == [(4, 100), (10, 95)]
    assert len(minutes) == 11
    assert [(row["cpu_ms"], row["memory_bytes"]) for row in await meter.rows(600)] == [(58, 100)]
    # At its end the steps that were under way are closed, once.
    now = meter.studio.clock.now
    for _ in range(2):
        await meter.studio.store.write(
            lambda tx: metering.record_last(tx, meter.process_id, None, None, now)
        )
        assert len(await meter.rows(60)) == 12
        assert [row["cpu_ms"] for row in await meter.rows(600)] == [58, 69]


async def test_a_share_is_dropped_at_a_time(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "FORGET_SHARE", 3)
    for _ in range(7):
        meter.studio.clock.move(10)
        await meter.measure()
    later = meter.studio.clock.now + timedelta(hours=2)
    more = [await meter.studio.store.write(lambda tx: metering.forget(tx, later)) for _ in range(3)]
    assert more == [True, True, False]
    assert await meter.rows(10) == []


async def test_the_peak_of_the_week(meter: Meter) -> None:
    studio = meter.studio

    async def note() -> None:
        await studio.store.write(lambda tx: metering.record_peaks(tx, studio.clock.now))

    second = await Meter(studio).start(cpu=2)
    await note()
    await studio.ask(processes.stop_process, (studio.app_id, second.process_id))
    context = studio.context()
    await studio.store.write(
        lambda tx: lifecycle.record_terminated(tx, second.process_id, None, context)
    )
    await note()
    assert (await studio.ask(billing.usage_limits, None)).vcpus_peak == 2.5
    studio.clock.move(7 * 86400 + 3600)
    await note()
    assert (await studio.ask(billing.usage_limits, None)).vcpus_peak == 0.5


async def test_the_hours_of_the_month(meter: Meter) -> None:
    studio = meter.studio
    studio.clock.move(3600)
    found = await studio.ask(billing.usage_limits, None)
    assert (found.vcpu_hours, found.vcpu_hours_limit) == (0.5, None)
    studio.policy = replace(studio.policy, monthly_vcpu_hours_limit=7.5)
    assert (await studio.ask(billing.usage_limits, None)).vcpu_hours_limit == 7.5
    studio.clock.now = datetime.fromisoformat("2026-02-01T02:00:00Z")
    assert (await studio.ask(billing.usage_limits, None)).vcpu_hours == 1.0


async def test_used_up_hours_refuse_where_the_operator_says_so(meter: Meter) -> None:
    studio = meter.studio
    deployment = await studio.deploy()

    async def check(**changes: Any) -> None:
        studio.policy = replace(studio.policy, **changes)
        context = studio.context()
        await studio.store.read(
            lambda tx: limits.check_limits(tx, studio.caller.org_id, deployment, context)
        )

    studio.clock.move(3600)
    await check(monthly_vcpu_hours_limit=0.5)
    with pytest.raises(PaymentRequired, match=r"Monthly vCPU hours limit reached"):
        await check(prices=Prices(enforced=True))
    await check(monthly_vcpu_hours_limit=0.6)
    await check(prices=Prices(80_000, 0, 50_000, enforced=True))
    with pytest.raises(PaymentRequired, match=r"credit"):
        await check(prices=Prices(80_000, 0, 40_000, enforced=True))
    await check(prices=Prices(80_000, 0, 40_000, enforced=False))


async def test_concurrent_vcpus_are_bounded(meter: Meter) -> None:
    studio = meter.studio
    deployment = await studio.deploy()
    org_id, context = studio.caller.org_id, studio.context()

    class Limited:
        """The store's answers, with a limit that no operation sets yet."""

        def __init__(self, tx: Any, limit: float) -> None:
            self.tx, self.limit = tx, limit

        def one(self, query: str, **params: Any) -> Any:
            row = self.tx.one(query, **params)
            return {**row, "concurrent_vcpus_limit": self.limit} if query == "orgs.by_id" else row

    def check(limit: float) -> Callable[[Any], None]:
        def run(tx: Any) -> None:
            limited: Any = Limited(tx, limit)
            limits.check_limits(limited, org_id, deployment, context)

        return run

    await studio.store.write(check(1.0))
    with pytest.raises(Exhausted, match=r"0\.9 concurrent vCPUs"):
        await studio.store.write(check(0.9))
