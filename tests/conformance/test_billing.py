"""BillingV1 through the SDK: what is upcoming, and a month that is closed once, whatever ends when (8.6)."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import pytest

from innkeeper.testing.live import ADMIN_TOKEN, LiveServer, eventually, live_server
from innkeeper.testing.live_database import opened
from innkeeper.testing.live_studio import Json, LiveStudio
from innkeeper.testing.official_sdk import Bridge, Sdk, refused

PRICES = {
    "INNKEEPER_PRICE_VCPU_HOUR": "0.08",
    "INNKEEPER_PRICE_EGRESS_GB": "0.12",
    "INNKEEPER_CREDIT": "500",
    "INNKEEPER_SAMPLE_INTERVAL_S": "1",
    "INNKEEPER_CPU_OVERCOMMIT": "50",
    "INNKEEPER_SANDBOXES_AHEAD": "0",
}


@pytest.fixture(scope="module")
def ledger(
    runtime: str,
    tmp_path_factory: pytest.TempPathFactory,
    on_database: Callable[[], dict[str, str]],
) -> Iterator[LiveServer]:
    """A server of its own, with prices."""
    settings = {**PRICES, **on_database()}
    with live_server(runtime, tmp_path_factory.mktemp(f"bills-{runtime}"), settings) as server:
        yield server


@pytest.fixture
def payer(bridge: Bridge, ledger: LiveServer) -> Sdk:
    return bridge.client(serverURL=ledger.url, hathoraDevToken=ADMIN_TOKEN)


@pytest.fixture
def played(payer: Sdk, ledger: LiveServer, game: bytes) -> Iterator[Json]:
    """A process of half a vCPU that ran for a moment, and has ended."""
    studio = LiveStudio(payer, ledger)
    build = studio.build(game)
    app_id = studio.app()
    studio.deploy(app_id, build["buildId"], requestedCPU=0.5)
    process_id = payer("processesV3.createProcess", "Tokyo", app_id)["processId"]
    studio.reaches(app_id, process_id, "running")
    payer("processesV3.stopProcess", process_id, app_id)
    yield studio.reaches(app_id, process_id, "stopped")
    studio.close()


def items(payer: Sdk, app_name: str) -> Json:
    found = payer("billingV1.getUpcomingInvoiceItems")["invoiceItems"]
    return {item["unit"]: item for item in found if item["productName"].startswith(f"{app_name}:")}


def seconds(process: Json) -> float:
    began, ended = (datetime.fromisoformat(process[name]) for name in ("startedAt", "stoppingAt"))
    return (ended - began).total_seconds()


def test_the_bill_is_what_ran(payer: Sdk, played: Json) -> None:
    app_name = payer("appsV2.getApp", played["appId"])["appName"]
    vcpu = items(payer, app_name)["second"]
    assert vcpu["quantity"] == pytest.approx(seconds(played) * 0.5, abs=1e-9)
    assert vcpu["unitPrice"] == pytest.approx(0.08 / 3600)
    assert vcpu["amount"] == pytest.approx(vcpu["quantity"] * vcpu["unitPrice"], abs=1e-6)
    total = payer("billingV1.getUpcomingInvoiceTotal")["value"]
    listed = payer("billingV1.getUpcomingInvoiceItems")["invoiceItems"]
    assert total == pytest.approx(sum(item["amount"] for item in listed), abs=1e-9)
    assert 499 < payer("billingV1.getBalance") <= 500
    assert payer("billingV1.getPaymentMethod") == {}


def test_the_portal_is_a_page_of_our_own(payer: Sdk, bridge: Bridge, ledger: LiveServer) -> None:
    url = payer("billingV1.initStripeCustomerPortalUrl", {"returnUrl": "https://studio.example/"})
    page = httpx.get(url, trust_env=False)
    assert page.status_code == 200
    assert 'href="https://studio.example/"' in page.text
    with refused(422, "returnUrl"):
        payer("billingV1.initStripeCustomerPortalUrl", {"returnUrl": "javascript:alert(1)"})
    anyone = bridge.client(serverURL=ledger.url)
    for call in ("getBalance", "getInvoices", "getUpcomingInvoiceItems", "getPaymentMethod"):
        with refused(401):
            anyone(f"billingV1.{call}")
        with refused(404):
            payer(f"billingV1.{call}", "org-of-nobody")


def test_a_month_is_closed_once(payer: Sdk, ledger: LiveServer, played: Json) -> None:
    """The records are moved to the month before, while the server is away; it is killed while it closes."""
    wanted = round(seconds(played) * 1000) * 500
    ledger.kill()
    month = move_to_last_month(ledger)
    for _ in range(2):
        ledger.start()
        invoices: list[Json] = eventually(
            lambda: payer("billingV1.getInvoices"), 20.0, "the month is closed"
        )
        ledger.kill()
    ledger.start()
    assert payer("billingV1.getInvoices") == invoices
    (invoice,) = invoices
    assert invoice["year"] * 100 + invoice["month"] == month
    assert (invoice["status"], invoice["amountDue"]) == ("paid", 0), "credit has paid it"
    assert billed(ledger) >= wanted
    page = httpx.get(invoice["pdfUrl"], trust_env=False)
    assert page.status_code == 200
    assert "Paid by credit" in page.text
    assert httpx.get(invoice["pdfUrl"][:-3] + "000", trust_env=False).status_code == 404
    app_name = payer("appsV2.getApp", played["appId"])["appName"]
    # The egress of its last moment may be read after the restart, and counts in the month that is open then.
    assert items(payer, app_name).keys() <= {"GB"}, "none of its time is upcoming any more"


def move_to_last_month(ledger: LiveServer) -> int:
    """Every process of the store ran some 40 days earlier; the month it ran in then."""
    with opened(ledger.data_dir, ledger.settings.get("INNKEEPER_DATABASE")) as ask:
        ((first,),) = ask("SELECT MIN(started_at) FROM processes")
        now = datetime.now(UTC)
        last_month = datetime(now.year - (now.month == 1), now.month - 1 or 12, 2, tzinfo=UTC)
        shift = round(last_month.timestamp() * 1000) - first
        for column in ("created_at", "scheduled_at", "attempted_at", "booted_at", "started_at",
                       "stopping_at", "term_sent_at", "kill_sent_at", "terminated_at"):  # fmt: skip
            ask(f"UPDATE processes SET {column} = {column} + {shift}")
        # What was folded already stands in this month: move it, too.
        ask(f"UPDATE metered_months SET month = {last_month:%Y%m}")
    return int(f"{last_month:%Y%m}")


def billed(ledger: LiveServer) -> int:
    with opened(ledger.data_dir, ledger.settings.get("INNKEEPER_DATABASE")) as ask:
        ((sum_,),) = ask("SELECT SUM(quantity) FROM invoice_items WHERE kind = 'vcpu'")
        return int(sum_)
