"""Months and money: cut exactly, rounded once, never negative."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.core import billing
from innkeeper.core.billing import AppUsage, Invoice, InvoiceItem, Prices
from innkeeper.core.moments import from_ms, to_ms

FAR = datetime(2040, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, to_ms(FAR)).map(from_ms)
USAGE = st.lists(
    st.builds(
        AppUsage,
        app_id=st.uuids().map(str),
        app_name=st.sampled_from(["arena", "tag", "arena"]),
        vcpu_us=st.integers(0, 10**16),
        egress_bytes=st.integers(0, 10**16),
    ),
    max_size=5,
)
PRICES = st.builds(
    Prices, vcpu_hour_micros=st.integers(0, 10**9), egress_gb_micros=st.integers(0, 10**9)
)


def test_a_year_of_months() -> None:
    assert list(billing.months(202511, 202602)) == [202511, 202512, 202601, 202602]
    assert list(billing.months(202602, 202601)) == []
    assert billing.month_start(202602) == datetime(2026, 2, 1, tzinfo=UTC)


@given(MOMENTS)
def test_a_moment_lies_in_its_month(moment: datetime) -> None:
    month = billing.month_of(moment)
    assert billing.month_start(month) <= moment
    assert moment < billing.month_start(billing.next_month(month))


@given(MOMENTS, st.integers(0, 800 * 24 * 3600 * 1000))
def test_the_parts_are_the_whole(since: datetime, length_ms: int) -> None:
    until = since + timedelta(milliseconds=length_ms)
    parts = list(billing.split_by_month(since, until))
    assert sum(milliseconds for _, milliseconds in parts) == length_ms
    assert all(milliseconds > 0 for _, milliseconds in parts)
    assert [month for month, _ in parts] == sorted({month for month, _ in parts})


def test_a_boundary_belongs_to_the_later_month() -> None:
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert list(billing.split_by_month(new_year - second, new_year)) == [(202512, 1000)]
    assert list(billing.split_by_month(new_year, new_year + second)) == [(202601, 1000)]
    assert list(billing.split_by_month(new_year - second, new_year + second)) == [
        (202512, 1000),
        (202601, 1000),
    ]
    assert list(billing.split_by_month(new_year, new_year)) == []
    assert list(billing.split_by_month(new_year, new_year - second)) == []


@given(USAGE, PRICES)
def test_each_line_is_the_exact_amount_rounded_once(usage: list[AppUsage], prices: Prices) -> None:
    lines = billing.items_of(usage, prices)
    assert sum(line.quantity for line in lines if line.kind == "vcpu") == sum(
        app.vcpu_us for app in usage
    )
    assert sum(line.quantity for line in lines if line.kind == "egress") == sum(
        app.egress_bytes for app in usage
    )
    for line in lines:
        per = 3600 * 10**6 if line.kind == "vcpu" else 10**9
        exact = Fraction(line.quantity * line.price_micros, per)
        assert abs(line.amount_micros - exact) <= Fraction(1, 2)
        assert line.amount_micros >= 0
    assert billing.total_of(lines) == sum(line.amount_micros for line in lines)


@given(USAGE, USAGE, PRICES)
def test_merging_months_loses_nothing(
    first: list[AppUsage], second: list[AppUsage], prices: Prices
) -> None:
    lines = billing.items_of(first, prices) + billing.items_of(second, prices)
    together = billing.merged(lines)
    assert billing.total_of(together) == billing.total_of(lines)
    assert sum(line.quantity for line in together) == sum(line.quantity for line in lines)
    keys = [(line.app_id, line.kind) for line in together]
    assert len(keys) == len(set(keys))


def test_a_public_price() -> None:
    """One vCPU for a whole January at 8 cents an hour, and 2.5 GB at 12 cents."""
    hours = 31 * 24
    usage = AppUsage("app-1", "arena", hours * billing.VCPU_US_PER_HOUR, 2_500_000_000)
    lines = billing.items_of([usage], Prices(80_000, 120_000))
    assert lines == [
        InvoiceItem("app-1", "arena: vCPU", "vcpu", usage.vcpu_us, 80_000, 59_520_000),
        InvoiceItem("app-1", "arena: Egress", "egress", usage.egress_bytes, 120_000, 300_000),
    ]


@pytest.mark.parametrize(
    ("amount", "credit", "paid", "days", "status"),
    [
        (0, 0, False, 0, "paid"),
        (5, 5, False, 99, "paid"),
        (5, 4, False, 0, "pending"),
        (5, 4, False, 14, "pending"),
        (5, 4, False, 15, "overdue"),
        (5, 4, True, 15, "paid"),
    ],
)
def test_what_becomes_of_an_invoice(
    amount: int, credit: int, paid: bool, days: int, status: str
) -> None:
    closed = datetime(2026, 2, 1, tzinfo=UTC)
    due = closed + billing.DUE_AFTER
    invoice = Invoice("i", "org", 202601, closed, due, amount, credit, closed if paid else None)
    assert invoice.status(closed + timedelta(days=days)) == status
