"""Printable pages: an invoice, and an organization's bills. Everything that came from outside is escaped."""

import html
from collections.abc import Iterable, Sequence
from decimal import Decimal

from innkeeper.core.billing import (
    BYTES_PER_GB,
    MICROS_PER_DOLLAR,
    VCPU_US_PER_HOUR,
    Invoice,
    InvoiceItem,
    total_of,
)

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;width:100%;margin:1em 0}"
    "th,td{padding:.3em .6em;border-bottom:1px solid #ccc;text-align:left}"
    ".n{text-align:right;font-variant-numeric:tabular-nums}"
)


def invoice_page(invoice: Invoice, status: str, items: Sequence[InvoiceItem]) -> bytes:
    """One closed month with its lines."""
    title = f"Invoice {_month(invoice.month)}"
    rows = [
        ("Invoice", invoice.invoice_id),
        ("Organization", invoice.org_id),
        ("Closed", f"{invoice.closed_at:%Y-%m-%d}"),
        ("Due", f"{invoice.due_at:%Y-%m-%d}"),
        ("Status", status),
    ]
    facts = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows
    )
    end = _sums(
        ("Total", invoice.amount_micros),
        ("Paid by credit", -invoice.credit_micros),
        ("Amount due", invoice.due_micros),
    )
    return _page(title, f"<table>{facts}</table>{_items(items, end)}")


def billing_page(
    upcoming: Sequence[InvoiceItem],
    invoices: Sequence[tuple[Invoice, str]],
    balance_micros: int,
    return_url: str,
) -> bytes:
    """What no invoice has yet, and all invoices. ``return_url`` is one that was checked and signed."""
    listed = "".join(
        f"<tr><td>{_month(invoice.month)}</td><td>{_text(invoice.invoice_id)}</td>"
        f"<td>{_text(status)}</td><td class=n>{_dollars(invoice.due_micros)}</td></tr>"
        for invoice, status in invoices
    )
    back = f'<p><a rel="noreferrer" href="{_text(return_url)}">Back</a></p>' if return_url else ""
    return _page(
        "Billing",
        f"{back}<p>Credit left: {_dollars(balance_micros)} USD. No payment provider is connected: "
        "amounts are shown, and payments are made outside.</p>"
        f"<h2>Upcoming</h2>{_items(upcoming, _sums(('Total', total_of(upcoming))))}"
        "<h2>Invoices</h2><table><tr><th>Month</th><th>Invoice</th><th>Status</th>"
        f"<th class=n>Due, USD</th></tr>{listed}</table>",
    )


def _items(items: Iterable[InvoiceItem], end: str) -> str:
    rows = "".join(
        f"<tr><td>{_text(item.product_name)}</td><td class=n>{_quantity(item)}</td>"
        f"<td class=n>{_dollars(item.price_micros)}</td>"
        f"<td class=n>{_dollars(item.amount_micros)}</td></tr>"
        for item in items
    )
    return (
        "<table><tr><th>Product</th><th class=n>Quantity</th><th class=n>Price, USD</th>"
        f"<th class=n>Amount, USD</th></tr>{rows}{end}</table>"
    )


def _sums(*sums: tuple[str, int]) -> str:
    return "".join(
        f'<tr><th colspan="3">{_text(name)}</th><th class=n>{_dollars(micros)}</th></tr>'
        for name, micros in sums
    )


def _quantity(item: InvoiceItem) -> str:
    if item.kind == "vcpu":
        return f"{Decimal(item.quantity) / VCPU_US_PER_HOUR:.6f} vCPU-hours"
    return f"{Decimal(item.quantity) / BYTES_PER_GB:.9f} GB"


def _dollars(micros: int) -> str:
    return f"{Decimal(micros) / MICROS_PER_DOLLAR:.6f}"


def _month(month: int) -> str:
    return f"{month // 100}-{month % 100:02}"


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _page(title: str, body: str) -> bytes:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{_text(title)}</h1>{body}</body></html>\n"
    ).encode()
