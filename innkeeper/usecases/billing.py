"""What an organization owes, computed from the records: invoices, what is upcoming (behaviour.md 8.6).

A month is closed by one transaction that may be repeated; nothing is ever counted up in memory.
"""

from dataclasses import dataclass
from datetime import timedelta

from innkeeper.core.accounts import Caller
from innkeeper.core.billing import (
    CLOSE_AFTER,
    DUE_AFTER,
    Invoice,
    InvoiceItem,
    Prices,
    items_of,
    merged,
    month_of,
    month_start,
    months,
    next_month,
    total_of,
)
from innkeeper.core.errors import NotFound
from innkeeper.core.moments import from_ms, maybe_from_ms, to_ms
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases.metered_months import month_usage, vcpu_hours, vcpu_hours_limit

CLOSED_AT_ONCE_MAX = 24
PEAK_OVER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class InvoiceDetails:
    """An invoice with its lines."""

    invoice: Invoice
    items: tuple[InvoiceItem, ...]


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """Month to date, and the week's peak. Limits that are ``None`` are not set (behaviour.md 8.5)."""

    vcpu_hours: float
    vcpu_hours_limit: float | None
    vcpus_peak: float
    vcpus_limit: float | None


# ---------------------------------------------------------------- closing months


def close_months(tx: Tx, org_id: str, context: Context) -> int:
    """Close every month that is over, in order; returns how many. Repeating it closes nothing twice.

    A month waits until each process that ran at its end has been seen after it: one that ended while nobody
    looked must not be billed beyond its end.
    """
    closed = 0
    month = _first_open(tx, org_id)
    while month is not None and closed < CLOSED_AT_ONCE_MAX:
        ended = month_start(next_month(month))
        if context.now < ended + CLOSE_AFTER:
            break
        if tx.one("billing.not_seen_since", org_id=org_id, moment=to_ms(ended)) is not None:
            break
        closed += _close(tx, org_id, month, context)
        month = next_month(month)
    return closed


def _close(tx: Tx, org_id: str, month: int, context: Context) -> int:
    prices = context.policy.prices
    lines = items_of(month_usage(tx, org_id, month, context.now), prices)
    amount = total_of(lines)
    credit = min(amount, _credit_left(tx, org_id, prices))
    invoice_id = context.ids.prefixed("invoice")
    made = tx.run(
        "billing.insert_invoice",
        invoice_id=invoice_id,
        org_id=org_id,
        month=month,
        closed_at=to_ms(context.now),
        due_at=to_ms(context.now + DUE_AFTER),
        amount_micros=amount,
        credit_micros=credit,
    )
    if not made:
        return 0
    for position, line in enumerate(lines):
        tx.run(
            "billing.insert_item",
            invoice_id=invoice_id,
            position=position,
            app_id=line.app_id,
            product_name=line.product_name,
            kind=line.kind,
            quantity=line.quantity,
            price_micros=line.price_micros,
            amount_micros=line.amount_micros,
        )
    return 1


def org_ids(tx: Tx) -> list[str]:
    """Every organization: each has months of its own to close."""
    return [row["org_id"] for row in tx.all("billing.orgs")]


def _first_open(tx: Tx, org_id: str) -> int | None:
    """The month after the last invoice's, or that of the first usage; ``None`` where nothing was used yet."""
    row = tx.one("billing.last_closed", org_id=org_id)
    if row is not None and row["month"] is not None:
        return next_month(row["month"])
    first = tx.one("billing.first_month", org_id=org_id)
    started = tx.one("billing.first_unmetered", org_id=org_id)
    known = [] if first is None or first["month"] is None else [int(first["month"])]
    if started is not None and started["started_at"] is not None:
        known.append(month_of(from_ms(started["started_at"])))
    return min(known, default=None)


# ---------------------------------------------------------------- asking


def upcoming_items(tx: Tx, caller: Caller, wanted: None, context: Context) -> list[InvoiceItem]:
    """What no invoice has yet: this month's usage so far, and that of months that are not closed yet."""
    return _upcoming(tx, caller.org_id, context)


def upcoming_total(tx: Tx, caller: Caller, wanted: None, context: Context) -> int:
    """Millionths of a dollar."""
    return total_of(_upcoming(tx, caller.org_id, context))


def _upcoming(tx: Tx, org_id: str, context: Context) -> list[InvoiceItem]:
    first = _first_open(tx, org_id)
    if first is None:
        return []
    prices = context.policy.prices
    return merged(
        line
        for month in months(first, month_of(context.now))
        for line in items_of(month_usage(tx, org_id, month, context.now), prices)
    )


def list_invoices(tx: Tx, caller: Caller, wanted: None, context: Context) -> list[Invoice]:
    """The organization's invoices, newest first."""
    return [invoice_from(row) for row in tx.all("billing.invoices", org_id=caller.org_id)]


def find_invoice(tx: Tx, invoice_id: str) -> InvoiceDetails | None:
    """An invoice, whoever's it is: for the page that a signed link leads to."""
    row = tx.one("billing.invoice", invoice_id=invoice_id)
    if row is None:
        return None
    lines = tx.all("billing.items", invoice_id=invoice_id)
    return InvoiceDetails(invoice_from(row), tuple(InvoiceItem(**line) for line in lines))


def mark_paid(tx: Tx, caller: Caller, invoice_id: str, context: Context) -> Invoice:
    """Somebody says that it was paid, for nothing here takes money. Twice is once. Raises ``NotFound``."""
    row = tx.one("billing.invoice", invoice_id=invoice_id)
    if row is None or row["org_id"] != caller.org_id:
        raise NotFound("Invoice", invoice_id)
    now = to_ms(context.now)
    tx.run("billing.mark_paid", invoice_id=invoice_id, org_id=caller.org_id, now=now)
    row = tx.one("billing.invoice", invoice_id=invoice_id)
    assert row is not None
    return invoice_from(row)


def balance(tx: Tx, caller: Caller, wanted: None, context: Context) -> int:
    """The credit that is left, in millionths of a dollar: less what is upcoming; never below nothing."""
    return balance_of(tx, caller.org_id, context)


def balance_of(tx: Tx, org_id: str, context: Context) -> int:
    """As :func:`balance`, of any organization."""
    prices = context.policy.prices
    if not prices.credit_micros:
        return 0
    left = _credit_left(tx, org_id, prices)
    return max(0, left - total_of(_upcoming(tx, org_id, context)))


def _credit_left(tx: Tx, org_id: str, prices: Prices) -> int:
    row = tx.one("billing.credit_used", org_id=org_id)
    used = 0 if row is None else int(row["micros"])
    return max(0, prices.credit_micros - used)


def usage_limits(tx: Tx, caller: Caller, wanted: None, context: Context) -> UsageLimits:
    """Month to date, the week's peak, and the limits (behaviour.md 8.5)."""
    org = tx.one("orgs.by_id", org_id=caller.org_id)
    if org is None:
        raise NotFound("Organization", caller.org_id)
    since = to_ms(context.now - PEAK_OVER) // 3_600_000 * 3_600_000
    peak = tx.one("usage.peak", org_id=caller.org_id, since=since)
    now = tx.one("processes.vcpus_of_org", org_id=caller.org_id)
    most = max(
        0 if peak is None or peak["cpu_millis"] is None else peak["cpu_millis"],
        0 if now is None else now["cpu_millis"],
    )
    return UsageLimits(
        vcpu_hours=vcpu_hours(tx, caller.org_id, context),
        vcpu_hours_limit=vcpu_hours_limit(org, context),
        vcpus_peak=most / 1000,
        vcpus_limit=org["concurrent_vcpus_limit"],
    )


def invoice_from(row: Row) -> Invoice:
    """The invoice in a row of the table."""
    return Invoice(
        invoice_id=row["invoice_id"],
        org_id=row["org_id"],
        month=row["month"],
        closed_at=from_ms(row["closed_at"]),
        due_at=from_ms(row["due_at"]),
        amount_micros=row["amount_micros"],
        credit_micros=row["credit_micros"],
        paid_at=maybe_from_ms(row["paid_at"]),
    )
