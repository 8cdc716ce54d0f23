"""Money: what a month's usage costs, and what becomes of an invoice (behaviour.md 8.6).

Integers only: usage in millionths of a vCPU-second and in bytes, money in millionths of a dollar.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from innkeeper.core.moments import to_ms

ItemKind = Literal["vcpu", "egress"]
InvoiceStatus = Literal[
    "pending",  # to be paid, and not due yet
    "paid",  # nothing is left to pay
    "overdue",  # to be paid, and past its due date
]

VCPU_US_PER_SECOND = 1_000_000
VCPU_US_PER_HOUR = 3600 * VCPU_US_PER_SECOND
BYTES_PER_GB = 1_000_000_000
MICROS_PER_DOLLAR = 1_000_000
DUE_AFTER = timedelta(days=14)
# A month is closed a little later: what happened at its very end is still on its way to the store.
CLOSE_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Prices:
    """Millionths of a dollar: of a vCPU-hour, of a GB (10^9 bytes) of egress, and the credit that each
    organization begins with. ``enforced``: used-up credit and monthly hours refuse new processes (4.7).
    """

    vcpu_hour_micros: int = 0
    egress_gb_micros: int = 0
    credit_micros: int = 0
    enforced: bool = False


@dataclass(frozen=True, slots=True)
class AppUsage:
    """What one app used in a month. ``vcpu_us``: requested millionths of a vCPU-second."""

    app_id: str
    app_name: str
    vcpu_us: int
    egress_bytes: int


@dataclass(frozen=True, slots=True)
class InvoiceItem:
    """One line. ``quantity`` is in ``vcpu_us`` or bytes, ``price_micros`` for a vCPU-hour or a GB."""

    app_id: str
    product_name: str
    kind: ItemKind
    quantity: int
    price_micros: int
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """A closed month: 202601 is January 2026. ``credit_micros`` is what credit has paid of it."""

    invoice_id: str
    org_id: str
    month: int
    closed_at: datetime
    due_at: datetime
    amount_micros: int
    credit_micros: int
    paid_at: datetime | None

    @property
    def due_micros(self) -> int:
        """What is, or was, left to pay."""
        return self.amount_micros - self.credit_micros

    def status(self, now: datetime) -> InvoiceStatus:
        """Where nothing is left to pay there is nothing to wait for."""
        if self.paid_at is not None or self.due_micros == 0:
            return "paid"
        return "overdue" if now > self.due_at else "pending"


# ---------------------------------------------------------------- months


def month_of(moment: datetime) -> int:
    """The UTC calendar month of a moment, as 202601."""
    utc = moment.astimezone(UTC)
    return utc.year * 100 + utc.month


def month_start(month: int) -> datetime:
    """Its first moment."""
    return datetime(month // 100, month % 100, 1, tzinfo=UTC)


def next_month(month: int) -> int:
    """The month after it; its start is the end of ``month``."""
    return month + 1 if month % 100 < 12 else month + 89


def months(first: int, last: int) -> Iterator[int]:
    """``first``, ``last`` and all between; none where ``last`` is earlier."""
    while first <= last:
        yield first
        first = next_month(first)


def split_by_month(since: datetime, until: datetime) -> Iterator[tuple[int, int]]:
    """(month, milliseconds in it) of the time from ``since`` to ``until``, cut exactly at the boundaries."""
    for month in months(month_of(since), month_of(until)):
        begun = max(since, month_start(month))
        ended = min(until, month_start(next_month(month)))
        if ended > begun:
            yield month, to_ms(ended) - to_ms(begun)


# ---------------------------------------------------------------- amounts


def _times(quantity: int, price_micros: int, per: int) -> int:
    """``quantity`` / ``per`` * ``price_micros``, rounded half up once, to a whole millionth of a dollar."""
    return (2 * quantity * price_micros + per) // (2 * per)


def items_of(usage: Iterable[AppUsage], prices: Prices) -> list[InvoiceItem]:
    """A month's lines: for each app its vCPU time, and its egress where any was measured."""
    lines: list[InvoiceItem] = []
    for app in sorted(usage, key=lambda app: (app.app_name, app.app_id)):
        kinds: tuple[tuple[ItemKind, str, int, int, int], ...] = (
            ("vcpu", "vCPU", app.vcpu_us, prices.vcpu_hour_micros, VCPU_US_PER_HOUR),
            ("egress", "Egress", app.egress_bytes, prices.egress_gb_micros, BYTES_PER_GB),
        )
        for kind, word, quantity, price, per in kinds:
            if quantity > 0:
                amount = _times(quantity, price, per)
                name = f"{app.app_name}: {word}"
                lines.append(InvoiceItem(app.app_id, name, kind, quantity, price, amount))
    return lines


def merged(lines: Iterable[InvoiceItem]) -> list[InvoiceItem]:
    """One line for each app and kind, where several months are still open: quantities and amounts add up."""
    found: dict[tuple[str, ItemKind], InvoiceItem] = {}
    for line in lines:
        before = found.get((line.app_id, line.kind))
        found[line.app_id, line.kind] = InvoiceItem(
            line.app_id,
            line.product_name,
            line.kind,
            line.quantity + (before.quantity if before else 0),
            line.price_micros,
            line.amount_micros + (before.amount_micros if before else 0),
        )
    return list(found.values())


def total_of(lines: Iterable[InvoiceItem]) -> int:
    """Millionths of a dollar."""
    return sum(line.amount_micros for line in lines)
