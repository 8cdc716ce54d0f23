"""Checks bills against the records, computed another way: nothing is billed twice, too long, or not at all.

The product folds ended processes into months and adds up in SQL; here each process's time is cut to the month
by hand, every time anew.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from innkeeper.core.billing import Prices
from innkeeper.core.processes import Process
from innkeeper.interfaces import Row, Tx
from innkeeper.usecases.metered_months import month_usage

PRICES = Prices(vcpu_hour_micros=103_333, egress_gb_micros=71_111, credit_micros=2_000)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the store has of money. ``shown``: what is told of each month, by app, as (vcpu_us, egress)."""

    now: datetime
    shown: dict[int, dict[str, tuple[int, int]]]
    sent: int
    months_sent: int
    invoices: tuple[Row, ...]


def accounts(tx: Tx, org_id: str, first: datetime, now: datetime) -> Accounts:
    """Read it; ``first`` is when the history began."""
    shown = {}
    for month in _months(first, now):
        usage = month_usage(tx, org_id, month, now)
        shown[month] = {app.app_id: (app.vcpu_us, app.egress_bytes) for app in usage}
    sent, months_sent = tx.one("invariants.sent"), tx.one("invariants.months_sent")
    assert sent is not None
    assert months_sent is not None
    invoices = tuple(tx.all("invariants.invoices"))
    return Accounts(now, shown, sent["bytes"], months_sent["bytes"], invoices)


@dataclass(slots=True)
class Books:
    """Remembers invoices, which never change."""

    _closed: dict[int, tuple[Row, ...]] = field(default_factory=dict)

    def check(self, found: Accounts, processes: tuple[Process, ...]) -> None:
        """Raises ``AssertionError`` naming the month."""
        for month, by_app in found.shown.items():
            shown = sum(vcpu_us for vcpu_us, _ in by_app.values())
            # Where the clock was set back, what is over may count beyond the present moment.
            least, most = (_total(processes, month, found.now, so) for so in (True, False))
            assert least <= shown <= most, f"{month}: {shown} billed, of {least} to {most}"
        assert found.sent == found.months_sent, f"{found.sent} sent, {found.months_sent} billed"
        self._check_invoices(found, processes)

    def _check_invoices(self, found: Accounts, processes: tuple[Process, ...]) -> None:
        by_month: dict[int, list[Row]] = {}
        for row in found.invoices:
            by_month.setdefault(row["month"], []).append(row)
        for month, rows in by_month.items():
            first = self._closed.setdefault(month, tuple(rows))
            assert list(first) == rows, f"the invoice of {month} has changed"
            assert len({row["invoice_id"] for row in rows}) == 1, f"{month} was closed twice"
            assert found.now >= _begin(_next(month)) - timedelta(minutes=5), f"{month} is not over"
            billed = sum(row["quantity"] for row in rows if row["kind"] == "vcpu")
            due = _total(processes, month, found.now, False)
            assert billed == due, f"the invoice of {month} has {billed}, not {due}"
            self._check_amounts(rows)
        lost = self._closed.keys() - by_month.keys()
        assert not lost, f"invoices are gone: {lost}"

    def _check_amounts(self, rows: list[Row]) -> None:
        amount = 0
        for row in rows:
            if row["kind"] is None:
                continue
            per = 3_600_000_000 if row["kind"] == "vcpu" else 10**9
            exact = Fraction(row["quantity"] * row["price_micros"], per)
            assert abs(row["amount_micros"] - exact) <= Fraction(1, 2), row
            amount += row["amount_micros"]
        assert rows[0]["total_micros"] == amount, f"the lines add up to {amount}: {rows[0]}"
        assert 0 <= rows[0]["credit_micros"] <= min(amount, PRICES.credit_micros), rows[0]


def _total(processes: tuple[Process, ...], month: int, now: datetime, cut_at_now: bool) -> int:
    return sum(_vcpu_us(process, month, now, cut_at_now) for process in processes)


def _vcpu_us(process: Process, month: int, now: datetime, cut_at_now: bool) -> int:
    if process.started_at is None:
        return 0
    until = process.stopping_at or now
    if cut_at_now:
        until = min(until, now)
    overlap = min(until, _begin(_next(month))) - max(process.started_at, _begin(month))
    return max(0, overlap // _MS) * process.cpu_millis


def _begin(month: int) -> datetime:
    return datetime(month // 100, month % 100, 1, tzinfo=UTC)


def _next(month: int) -> int:
    return month + 1 if month % 100 < 12 else month + 89


def _months(first: datetime, last: datetime) -> list[int]:
    month, found = first.year * 100 + first.month, []
    while _begin(month) <= last:
        found.append(month)
        month = _next(month)
    return found
