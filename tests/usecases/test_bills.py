"""The bill equals the sum of lifetimes, for any history: starts, stops, deaths that nobody saw, folds,
closings, and crashes before and after each commit.
"""

import asyncio
import random
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.core.actions import MarkStopping
from innkeeper.core.billing import Prices, month_of, month_start, next_month, split_by_month
from innkeeper.core.processes import Exit
from innkeeper.interfaces import Tx
from innkeeper.store.migrate import migrate
from innkeeper.testing.inline_store import InlineStore
from innkeeper.testing.studio import Studio
from innkeeper.usecases import billing, lifecycle, metered_months, metering, processes
from innkeeper.usecases.metering import Measured

PRICES = Prices(vcpu_hour_micros=80_000, egress_gb_micros=120_000, credit_micros=3_000_000)


class Killed(BaseException):
    """The control plane ends here."""


@dataclass
class Game:
    """A process as it really is, whatever the records say."""

    process_id: str
    cpu_millis: int
    started_at: datetime
    died_at: datetime | None = None
    stopped_at: datetime | None = None  # recorded: told to stop, or its end was noticed
    ended: bool = False  # its end is recorded
    sent: int = 0
    sent_by_month: dict[int, int] = field(default_factory=dict)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with the schema; each history gets a copy."""
    path = tmp_path_factory.mktemp("bills") / "template.sqlite"
    migrate(path)
    return path


class History:
    """One organization, some processes, and an accountant who may be killed at any commit."""

    def __init__(self, seed: int, path: Path) -> None:
        self.chance = random.Random(seed)
        self.strikes: list[str] = []
        self.loop = asyncio.new_event_loop()
        self.studio = Studio(InlineStore(path, self.strike))  # type: ignore[arg-type]
        self.studio.policy = replace(self.studio.policy, prices=PRICES)
        self.run(self.studio.open())
        self.games: list[Game] = []
        self.deployments = {
            cpu: self.run(self.studio.deploy(cpu=cpu / 1000)) for cpu in (250, 500, 2000)
        }
        self.invoices: dict[int, Any] = {}

    def end(self) -> None:
        self.run(self.studio.store.close())
        self.loop.close()

    def run(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(doing)

    def strike(self, place: str) -> None:
        if self.strikes and self.strikes[0] == place:
            self.strikes.pop(0)
            raise Killed

    def tx(self, call: Callable[[Tx], Any]) -> Any:
        return self.run(self.studio.store.write(call))

    def struck(self, call: Callable[[Tx], Any]) -> None:
        """One transaction, or a crash at its commit; then it is done again, as after a restart."""
        strike = self.chance.choice([None, None, "before a commit", "after a commit"])
        if strike is not None:
            self.strikes = [strike]
            try:
                self.tx(call)
            except Killed:
                pass
            self.strikes = []
        self.tx(call)

    @property
    def now(self) -> datetime:
        return self.studio.clock.now

    def start(self) -> None:
        cpu = self.chance.choice([250, 500, 2000])
        context, deployment = self.studio.context(), self.deployments[cpu]

        def make(tx: Tx) -> str:
            process_id = processes.new_process(
                tx, self.studio.caller.org_id, deployment, "Tokyo", None, context, "for a test"
            )
            lifecycle.record_attempt(tx, process_id, self.now)
            lifecycle.record_booted(tx, process_id, self.now)
            lifecycle.record_started(tx, process_id, deployment.deployment_id, self.now)
            return process_id

        self.games.append(Game(self.tx(make), cpu, self.now))

    def start_in_vain(self) -> None:
        """It never binds its port, and costs nothing."""
        context = self.studio.context()

        def make(tx: Tx) -> None:
            process_id = processes.new_process(
                tx,
                self.studio.caller.org_id,
                self.deployments[250],
                "Tokyo",
                None,
                context,
                "for a test",
            )
            later = replace(context, now=self.now + timedelta(seconds=1))
            lifecycle.record_terminated(tx, process_id, None, later)
            lifecycle.record_removed(tx, process_id, later)

        self.tx(make)

    def pass_time(self) -> None:
        self.studio.clock.move(self.chance.choice([0.001, 599, 3600, 20 * 86_400]))

    def pass_to_a_new_month(self) -> None:
        month = month_of(self.now)
        for _ in range(self.chance.choice([1, 1, 3])):
            month = next_month(month)
        seconds = self.chance.choice([0, 1, 599, 601])
        self.studio.clock.now = month_start(month) + timedelta(seconds=seconds)

    def measure(self) -> None:
        """What really runs is seen, and may have sent something; the record may come late."""
        alive = [game for game in self.games if game.died_at is None]
        if not alive:
            return
        chatty = self.chance.choice(alive)
        sent, late_s = self.chance.choice([0, 1, 3 * 10**9]), self.chance.choice([0, 0, 602])
        at = self.now - timedelta(seconds=late_s)
        if sent:
            # A month that is closed already takes no more: the next one does.
            month = max(month_of(at), next_month(max(self.invoices, default=202501)))
            chatty.sent += sent
            chatty.sent_by_month[month] = chatty.sent_by_month.get(month, 0) + sent
        org, app = self.studio.caller.org_id, self.studio.app_id
        seen = [Measured(game.process_id, org, app, at, at, 1, 1, game.sent, 0) for game in alive]
        self.struck(lambda tx: metering.record(tx, seen))

    def stop(self) -> None:
        running = [game for game in self.games if game.stopped_at is None]
        if not running:
            return
        game = self.chance.choice(running)
        context = self.studio.context()
        stop = MarkStopping(game.process_id, "asked", 1)
        self.tx(lambda tx: lifecycle.record_stopping(tx, stop, context))
        game.stopped_at = self.now

    def die(self) -> None:
        """It ends, and nobody notices yet."""
        alive = [game for game in self.games if game.died_at is None]
        if alive:
            self.chance.choice(alive).died_at = self.now

    def notice(self) -> None:
        dead = [game for game in self.games if game.died_at is not None and not game.ended]
        if not dead:
            return
        game = self.chance.choice(dead)
        assert game.died_at is not None
        exit_, context = Exit(0, None, False, game.died_at), self.studio.context()
        self.struck(lambda tx: lifecycle.record_terminated(tx, game.process_id, exit_, context))
        self.tx(lambda tx: lifecycle.record_removed(tx, game.process_id, context))
        game.ended, game.stopped_at = True, game.stopped_at or game.died_at

    def fold(self) -> None:
        self.struck(metered_months.fold_ended)

    def close(self) -> None:
        org_id = self.studio.caller.org_id
        self.struck(lambda tx: billing.close_months(tx, org_id, self.studio.context()))
        found = {
            invoice.month: self.tx(lambda tx, i=invoice: billing.find_invoice(tx, i.invoice_id))
            for invoice in self.run(self.studio.ask(billing.list_invoices, None))
        }
        for month, before in self.invoices.items():
            assert found[month] == before, "a closed month never changes"
        self.invoices = found

    # ------------------------------------------------------------ what must hold

    def lifetimes(self) -> dict[int, int]:
        """vCPU-microseconds by month, from what is recorded, counted one by one."""
        sums: dict[int, int] = {}
        for game in self.games:
            for month, milliseconds in split_by_month(game.started_at, game.stopped_at or self.now):
                sums[month] = sums.get(month, 0) + milliseconds * game.cpu_millis
        return sums

    def each_month_is_the_sum_of_its_lifetimes(self) -> None:
        lifetimes = self.lifetimes()
        months = sorted(self.invoices)
        for month in months:
            lines = self.invoices[month].items
            assert sum(x.quantity for x in lines if x.kind == "vcpu") == lifetimes.get(month, 0)
            sent = sum(game.sent_by_month.get(month, 0) for game in self.games)
            assert sum(x.quantity for x in lines if x.kind == "egress") == sent
            invoice = self.invoices[month].invoice
            assert invoice.amount_micros == sum(x.amount_micros for x in lines) >= 0
            assert 0 <= invoice.credit_micros <= invoice.amount_micros
        upcoming = self.run(self.studio.ask(billing.upcoming_items, None))
        open_time = sum(n for month, n in lifetimes.items() if month not in self.invoices)
        assert sum(x.quantity for x in upcoming if x.kind == "vcpu") == open_time
        total_sent = sum(x.quantity for x in upcoming if x.kind == "egress") + sum(
            x.quantity
            for details in self.invoices.values()
            for x in details.items
            if x.kind == "egress"
        )
        assert total_sent == sum(game.sent for game in self.games)
        assert self.run(self.studio.ask(billing.upcoming_total, None)) == sum(
            x.amount_micros for x in upcoming
        )

    def credit_is_spent_once(self) -> None:
        used = sum(d.invoice.credit_micros for d in self.invoices.values())
        left = self.run(self.studio.ask(billing.balance, None))
        upcoming = self.run(self.studio.ask(billing.upcoming_total, None))
        assert used <= PRICES.credit_micros
        assert left == max(0, PRICES.credit_micros - used - upcoming)

    def months_are_closed_in_order_and_once(self) -> None:
        months = sorted(self.invoices)
        for earlier, later in pairwise(months):
            assert later - earlier in (1, 89)
        assert all(month < month_of(self.now) for month in months)


STEPS = (
    (History.start, 3), (History.start_in_vain, 1), (History.pass_time, 3),
    (History.pass_to_a_new_month, 2), (History.measure, 3), (History.stop, 2), (History.die, 2),
    (History.notice, 2), (History.fold, 2), (History.close, 4),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_the_bill_is_the_sum_of_lifetimes(template: Path, seed: int) -> None:
    path = template.with_name("innkeeper.sqlite")
    for left in template.parent.glob("innkeeper.sqlite*"):
        left.unlink()
    shutil.copy(template, path)
    history = History(seed, path)
    try:
        for _ in range(60):
            step = history.chance.choices([s for s, _ in STEPS], [n for _, n in STEPS])[0]
            step(history)
            history.each_month_is_the_sum_of_its_lifetimes()
            history.credit_is_spent_once()
            history.months_are_closed_in_order_and_once()
    finally:
        history.end()
