"""BillingV1 and its pages on the wire."""

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from innkeeper.core.billing import Prices, month_start
from innkeeper.usecases import apps, billing, metering
from tests.api.conftest import Shop
from tests.api.test_usage import measured, started


@pytest.fixture
async def month(shop: Shop) -> Shop:
    """A vCPU-half that ran from noon of 31 January, and sent 6000 bytes; it is 2 February now."""
    studio = shop.studio
    studio.policy = replace(
        studio.policy, prices=Prices(vcpu_hour_micros=80_000, egress_gb_micros=1_000_000_000_000)
    )
    shop.house.services.policy = studio.policy
    process_id = await started(studio)
    await measured(studio, process_id)
    studio.clock.now = month_start(202602)
    studio.clock.move(26 * 3600)
    now = studio.clock.now
    one = metering.Measured(
        process_id, studio.caller.org_id, studio.app_id, now, now, 1, 1, 6500, 0
    )
    await studio.store.write(lambda tx: metering.record(tx, [one]))
    org_id, context = studio.caller.org_id, studio.context()
    assert await studio.store.write(lambda tx: billing.close_months(tx, org_id, context)) == 1
    return shop


async def test_an_installation_without_prices(shop: Shop) -> None:
    assert (await shop.call("GetBalance")).json() == 0
    assert (await shop.call("GetInvoices")).json() == []
    assert (await shop.call("GetPaymentMethod")).json() == {}
    assert (await shop.call("GetUpcomingInvoiceItems")).json() == {"invoiceItems": []}
    assert (await shop.call("GetUpcomingInvoiceTotal")).json() == {"value": 0}


async def test_an_invoice_of_the_month_that_is_over(month: Shop) -> None:
    (invoice,) = (await month.call("GetInvoices")).json()
    assert (invoice["year"], invoice["month"], invoice["status"]) == (2026, 1, "pending")
    assert invoice["amountDue"] == 12 * 0.5 * 0.08 + 6.0
    assert invoice["dueDate"] == "2026-02-16T02:00:00.000Z"
    month.studio.clock.move(15 * 86_400)
    assert (await month.call("GetInvoices")).json()[0]["status"] == "overdue"


async def test_what_is_upcoming(month: Shop) -> None:
    shown = (await month.call("GetUpcomingInvoiceItems")).json()["invoiceItems"]
    assert shown == [
        {
            "productName": "my-game: vCPU",
            "unit": "second",
            "quantity": 26 * 3600 * 0.5,
            "unitPrice": 0.08 / 3600,
            "amount": 1.04,
        },
        {
            "productName": "my-game: Egress",
            "unit": "GB",
            "quantity": 5e-7,
            "unitPrice": 1_000_000,
            "amount": 0.5,
        },
    ]
    assert (await month.call("GetUpcomingInvoiceTotal")).json() == {"value": 1.54}


async def test_somebody_has_paid(month: Shop) -> None:
    (invoice,) = (await month.call("GetInvoices")).json()
    place = {"invoiceId": invoice["id"]}
    paid = await month.call("MarkInvoicePaid", place)
    assert (paid.status_code, paid.json()["status"]) == (200, "paid")
    month.studio.clock.move(30 * 86_400)
    assert (await month.call("MarkInvoicePaid", place)).json()["status"] == "paid"
    assert (await month.call("GetInvoices")).json()[0]["status"] == "paid"
    assert (await month.call("MarkInvoicePaid", {"invoiceId": "x"})).status_code == 404


async def test_credit_is_used_up_first(shop: Shop) -> None:
    studio = shop.studio
    studio.policy = replace(studio.policy, prices=Prices(80_000, 0, credit_micros=1_009_999))
    shop.house.services.policy = studio.policy
    await started(studio)
    assert (await shop.call("GetBalance")).json() == 1.0
    studio.clock.move(3600)
    assert (await shop.call("GetBalance")).json() == 0.96
    studio.clock.move(30 * 3600)
    assert (await shop.call("GetBalance")).json() == 0


async def test_the_page_of_an_invoice(month: Shop) -> None:
    (invoice,) = (await month.call("GetInvoices")).json()
    page = await month.http.get(invoice["pdfUrl"])
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for words in ("Invoice 2026-01", "my-game: vCPU", "6.000000 vCPU-hours", "6.480000", "pending"):
        assert words in page.text
    for changed in (invoice["pdfUrl"][:-1] + "0", invoice["pdfUrl"].partition("?")[0]):
        if changed != invoice["pdfUrl"]:
            assert (await month.http.get(changed)).status_code == 404
    other = invoice["pdfUrl"].replace(invoice["id"], "invoice-x")
    assert (await month.http.get(other)).status_code == 404


async def test_the_portal_leads_back(month: Shop) -> None:
    back = "https://studio.example/done?a=1&b=2#x"
    reply = await month.call("InitStripeCustomerPortalUrl", body={"returnUrl": back})
    url = reply.json()
    assert parse_qs(urlsplit(url).query)["returnUrl"] == [back]
    page = await month.http.get(url, headers={"authorization": ""})
    assert page.status_code == 200
    assert 'href="https://studio.example/done?a=1&amp;b=2#x"' in page.text
    for words in ("Upcoming", "my-game: Egress", "2026-01"):
        assert words in page.text
    assert (await month.http.get(url.replace("studio", "thief"))).status_code == 404
    month.studio.clock.move(24 * 3600 + 1)
    assert (await month.http.get(url)).status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "//studio.example",
        "/done",
        "https://",
        "https://user:secret@studio.example",
        'https://studio.example/"><script>',
        "https://studio.example/a b",
        "https://studio.example/\r\nx",
        "https://studio.example:x/",
        "https://studio.example:99999/",
        "http://[::1",
        "https://studio.example/" + "x" * 2000,
    ],
)
async def test_where_the_portal_may_not_lead(shop: Shop, url: str) -> None:
    reply = await shop.call("InitStripeCustomerPortalUrl", body={"returnUrl": url})
    assert reply.status_code == 422
    assert "body.returnUrl" in reply.json()["details"]


async def test_names_are_escaped_on_pages(month: Shop) -> None:
    """An app's name cannot hold markup today; the page does not rely on that."""
    from innkeeper.api.billing_pages import invoice_page
    from innkeeper.core.billing import InvoiceItem

    (invoice,) = await month.studio.ask(billing.list_invoices, None)
    evil = InvoiceItem("app", "<script>alert(1)</script>", "vcpu", 1, 1, 1)
    page = invoice_page(invoice, "<b>", [evil]).decode()
    assert "<script>" not in page
    assert "<b>" not in page


async def test_nothing_of_another_organization(month: Shop) -> None:
    for operation in ("GetBalance", "GetInvoices", "GetUpcomingInvoiceItems", "GetPaymentMethod"):
        reply = await month.call(operation, params={"orgId": "org-x"})
        assert reply.status_code == 404


async def test_a_bill_outlives_its_app(month: Shop) -> None:
    before = (await month.call("GetUpcomingInvoiceTotal")).json()["value"]
    await month.studio.ask(apps.delete_app, month.app)
    (invoice,) = (await month.call("GetInvoices")).json()
    assert invoice["amountDue"] > 0
    assert (await month.call("GetUpcomingInvoiceTotal")).json()["value"] == before
