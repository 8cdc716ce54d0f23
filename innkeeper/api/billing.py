"""BillingV1, the pages that its links lead to, and "it was paid": shapes first, rows last (behaviour.md 8.6).

Nothing here takes money: amounts are shown, and a payment is noted when somebody says so.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from innkeeper.api import wire_generated as wire
from innkeeper.api.apps import read_nothing
from innkeeper.api.billing_pages import billing_page, invoice_page
from innkeeper.api.build_links import base_of, base_seen, expired, sign, signed
from innkeeper.api.operation import Operation, Raw
from innkeeper.api.request import Request
from innkeeper.core.accounts import Caller
from innkeeper.core.billing import (
    BYTES_PER_GB,
    MICROS_PER_DOLLAR,
    VCPU_US_PER_SECOND,
    Invoice,
    InvoiceItem,
)
from innkeeper.core.errors import Invalid
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import billing
from innkeeper.usecases.builds import url_secret

RETURN_URL_MAX = 2000
PORTAL_TTL = timedelta(hours=24)
_MICROS_PER_CENT = MICROS_PER_DOLLAR // 100
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_HTML, _TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Addressed:
    """What an operation asks for, and the base URL that the client used for asking."""

    wanted: Any
    seen: str


@dataclass(frozen=True, slots=True)
class LinkUse:
    """A link of ours as somebody opens it: what it names, and its signature, true or not."""

    name: str
    signature: str
    expires: str = ""
    return_url: str = ""


@dataclass(frozen=True, slots=True)
class LinkedInvoice:
    """An invoice as of now, and where its page is."""

    invoice: Invoice
    status: str
    url: str


def read_list(request: Request) -> Addressed:
    """GetInvoices asks for nothing but links."""
    return Addressed(None, base_seen(request))


def read_portal(request: Request) -> Addressed:
    """Where the portal shall lead back to. Raises ``Invalid`` unless it is a web address."""
    url: str = request.body.returnUrl
    if len(url) > RETURN_URL_MAX:
        raise Invalid("body.returnUrl", f"must have at most {RETURN_URL_MAX} characters")
    if any(not c.isprintable() or c.isspace() or c in "\\\"'<>`" for c in url) or not _is_web(url):
        raise Invalid("body.returnUrl", "must be an http:// or https:// URL")
    return Addressed(url, base_seen(request))


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.username is None
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        return False


def read_invoice(request: Request) -> Addressed:
    """The invoice of the path."""
    return Addressed(request.path["invoiceId"], base_seen(request))


def read_invoice_page(request: Request) -> LinkUse:
    """The invoice of the path, and the link's signature."""
    return LinkUse(request.path["invoiceId"], request.query.get("signature", ""))


def read_billing_page(request: Request) -> LinkUse:
    """The organization of the path, and what the link was signed for."""
    query = request.query
    return LinkUse(
        request.path["orgId"],
        query.get("signature", ""),
        query.get("expires", ""),
        query.get("returnUrl", ""),
    )


def run_invoices(tx: Tx, caller: Caller, asked: Addressed, context: Context) -> list[LinkedInvoice]:
    """The org's invoices with their links."""
    found = billing.list_invoices(tx, caller, None, context)
    return [_linked(tx, invoice, asked.seen, context) for invoice in found]


def run_paid(tx: Tx, caller: Caller, asked: Addressed, context: Context) -> LinkedInvoice:
    """Note that an invoice was paid."""
    invoice = billing.mark_paid(tx, caller, asked.wanted, context)
    return _linked(tx, invoice, asked.seen, context)


def _linked(tx: Tx, invoice: Invoice, seen: str, context: Context) -> LinkedInvoice:
    query = urlencode({"signature": sign(url_secret(tx), "invoice", invoice.invoice_id)})
    base = base_of(context.policy, seen)
    url = f"{base}/innkeeper/v1/invoices/{invoice.invoice_id}/page?{query}"
    return LinkedInvoice(invoice, invoice.status(context.now), url)


def run_portal(tx: Tx, caller: Caller, asked: Addressed, context: Context) -> str:
    """A link to the org's billing page, which works for a day and leads back."""
    until = str(int((context.now + PORTAL_TTL).timestamp()))
    signature = sign(url_secret(tx), "billing", caller.org_id, asked.wanted, until)
    query = urlencode({"returnUrl": asked.wanted, "expires": until, "signature": signature})
    return (
        f"{base_of(context.policy, asked.seen)}/innkeeper/v1/billing/{caller.org_id}/page?{query}"
    )


def run_invoice_page(tx: Tx, _: None, use: LinkUse, context: Context) -> Raw:
    """The page; 404 for a link that is not ours and for an invoice that is not there alike."""
    found = None
    if signed(url_secret(tx), use.signature, "invoice", use.name):
        found = billing.find_invoice(tx, use.name)
    if found is None:
        return Raw(b"There is no such invoice.\n", _TEXT, 404, _PAGE_HEADERS)
    status = found.invoice.status(context.now)
    return Raw(invoice_page(found.invoice, status, found.items), _HTML, 200, _PAGE_HEADERS)


def run_billing_page(tx: Tx, _: None, use: LinkUse, context: Context) -> Raw:
    """What is upcoming, and every invoice; 404 for a link that is not ours or no longer holds."""
    secret = url_secret(tx)
    if not signed(
        secret, use.signature, "billing", use.name, use.return_url, use.expires
    ) or expired(use.expires, context.now.timestamp()):
        return Raw(b"This link does not hold (any more).\n", _TEXT, 404, _PAGE_HEADERS)
    caller = Caller(use.name, "", frozenset())
    items = billing.upcoming_items(tx, caller, None, context)
    invoices = [
        (invoice, invoice.status(context.now))
        for invoice in billing.list_invoices(tx, caller, None, context)
    ]
    page = billing_page(items, invoices, billing.balance_of(tx, use.name, context), use.return_url)
    return Raw(page, _HTML, 200, _PAGE_HEADERS)


def write_invoice(linked: LinkedInvoice) -> wire.Invoice:
    """A closed month; what is, or was, left to pay in USD."""
    invoice = linked.invoice
    return wire.Invoice(
        id=invoice.invoice_id,
        year=invoice.month // 100,
        month=invoice.month % 100,
        status=linked.status,
        amountDue=invoice.due_micros / MICROS_PER_DOLLAR,
        dueDate=invoice.due_at,
        pdfUrl=linked.url,
    )


def write_invoices(found: list[LinkedInvoice]) -> list[wire.Invoice]:
    """Newest first."""
    return [write_invoice(linked) for linked in found]


def write_items(items: list[InvoiceItem]) -> wire.InvoiceItemPage:
    """The lines. A whole number of micros over a million is the decimal itself, digit for digit."""
    return wire.InvoiceItemPage(invoiceItems=[_item(item) for item in items])


def _item(item: InvoiceItem) -> wire.InvoiceItem:
    vcpu = item.kind == "vcpu"
    return wire.InvoiceItem(
        productName=item.product_name,
        unit="second" if vcpu else "GB",
        quantity=item.quantity / (VCPU_US_PER_SECOND if vcpu else BYTES_PER_GB),
        unitPrice=item.price_micros / (MICROS_PER_DOLLAR * (3600 if vcpu else 1)),
        amount=item.amount_micros / MICROS_PER_DOLLAR,
    )


def write_total(micros: int) -> wire.GetUpcomingInvoiceTotalResponseBody:
    """USD."""
    return wire.GetUpcomingInvoiceTotalResponseBody(value=micros / MICROS_PER_DOLLAR)


def write_balance(micros: int) -> float:
    """USD with two decimals, never more than is left."""
    return micros // _MICROS_PER_CENT / 100


def run_payment_method(tx: Tx, caller: Caller, wanted: None, context: Context) -> None:
    """Nothing here takes money."""


def write_payment_method(_: None) -> wire.PaymentMethod:
    """None: every field is left out."""
    return wire.PaymentMethod()


def write_text(text: str) -> str:
    """A bare JSON string."""
    return text


def write_page(page: Raw) -> Raw:
    """As it is."""
    return page


_BILLING = "billing:read-write"

OPERATIONS = (
    Operation("GetBalance", read_nothing, billing.balance, write_balance, "read", _BILLING),
    Operation("InitStripeCustomerPortalUrl", read_portal, run_portal, write_text, "read", _BILLING),
    Operation("GetInvoices", read_list, run_invoices, write_invoices, "read", _BILLING),
    Operation(
        "GetPaymentMethod", read_nothing, run_payment_method, write_payment_method, "read", _BILLING
    ),
    Operation(
        "GetUpcomingInvoiceItems",
        read_nothing,
        billing.upcoming_items,
        write_items,
        "read",
        _BILLING,
    ),
    Operation(
        "GetUpcomingInvoiceTotal",
        read_nothing,
        billing.upcoming_total,
        write_total,
        "read",
        _BILLING,
    ),
    Operation("MarkInvoicePaid", read_invoice, run_paid, write_invoice, scope=_BILLING),
    Operation("GetInvoicePage", read_invoice_page, run_invoice_page, write_page, "read"),
    Operation("GetBillingPage", read_billing_page, run_billing_page, write_page, "read"),
)
