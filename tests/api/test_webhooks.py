"""Webhooks over the API: made, shown, tried, enabled, deleted, and refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from innkeeper.interfaces import Outcome
from innkeeper.usecases import webhooks
from innkeeper.usecases.webhooks import Failure

Shop = Any
URL = "https://studio.example/events?key=1"


@dataclass
class ToldSender:
    """Keeps what it is to send."""

    sent: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: Outcome(True, "answered 204 in 0.01 s"))

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        self.sent.append((url, headers, body))
        return self.outcome

    async def close(self) -> None:
        return


async def ask(shop: Shop, operation: str, status: int, webhook_id: str = "", **sent: Any) -> Any:
    reply = await shop.call(operation, {"webhookId": webhook_id}, **sent)
    assert reply.status_code == status, reply.text
    return reply.json() if reply.content else None


async def test_a_webhook_from_its_making_to_its_end(shop: Shop) -> None:
    body = {"url": URL, "appId": shop.app, "kinds": ["room.destroyed", "room.created"]}
    made = await ask(shop, "CreateWebhook", 201, body=body)
    shown, secret = made["webhook"], made["secret"]
    assert secret.startswith("whsec_")
    assert (shown["url"], shown["appId"], shown["status"]) == (URL, shop.app, "active")
    assert shown["kinds"] == ["room.created", "room.destroyed"]
    other = (await ask(shop, "CreateWebhook", 201, body={"url": URL}))["webhook"]
    assert "appId" not in other
    assert "kinds" not in other
    listed = await ask(shop, "GetWebhooks", 200)
    assert {hook["webhookId"] for hook in listed["webhooks"]} == {
        shown["webhookId"],
        other["webhookId"],
    }
    assert secret not in str(listed)
    assert await ask(shop, "GetWebhook", 200, shown["webhookId"]) == shown
    await ask(shop, "DeleteWebhook", 204, shown["webhookId"])
    for operation in ("GetWebhook", "DeleteWebhook", "PingWebhook", "EnableWebhook"):
        wrong = await ask(shop, operation, 404, shown["webhookId"])
        assert wrong["message"] == f'Webhook "{shown["webhookId"]}" not found'


async def test_a_ping_says_how_it_went(shop: Shop) -> None:
    shop.house.services.webhook_sender = sender = ToldSender()
    made = await ask(shop, "CreateWebhook", 201, body={"url": URL})
    webhook_id = made["webhook"]["webhookId"]
    answer = await ask(shop, "PingWebhook", 200, webhook_id)
    assert answer == {"delivered": True, "message": "answered 204 in 0.01 s"}
    url, headers, body = sender.sent[0]
    assert url == URL
    assert headers["webhook-id"].startswith("ping-")
    assert b'"type": "webhook.ping"' in body
    sender.outcome = Outcome(False, "no answer within 10 s")
    answer = await ask(shop, "PingWebhook", 200, webhook_id)
    assert answer == {"delivered": False, "message": "no answer within 10 s"}
    shown = await ask(shop, "GetWebhook", 200, webhook_id)
    assert shown["failures"] == 0


async def test_a_failing_one_shows_why_and_a_disabled_one_can_be_enabled(shop: Shop) -> None:
    made = await ask(shop, "CreateWebhook", 201, body={"url": URL})
    webhook_id, now = made["webhook"]["webhookId"], shop.studio.clock()
    store = shop.studio.store
    failure = Failure((0, 0), 2, now, now, "answered 500 in 0.10 s")
    await store.write(lambda tx: webhooks.record_failure(tx, webhook_id, failure, now))
    shown = await ask(shop, "GetWebhook", 200, webhook_id)
    assert (shown["status"], shown["failures"], shown["lastError"]) == (
        "failing",
        2,
        "answered 500 in 0.10 s",
    )
    assert shown["nextTryAt"] == shown["failingSince"] == "2026-01-31T12:00:00.000Z"
    await store.write(lambda tx: webhooks.disable(tx, webhook_id, "for a reason", now))
    shown = await ask(shop, "GetWebhook", 200, webhook_id)
    assert (shown["status"], shown["lastError"]) == ("disabled", "for a reason")
    assert "nextTryAt" not in shown
    again = await ask(shop, "EnableWebhook", 200, webhook_id)
    assert (again["status"], again["failures"], "lastError" in again) == ("active", 0, False)


@pytest.mark.parametrize(
    ("body", "field_"),
    [
        ({"url": "ftp://studio.example/"}, "body.url"),
        ({"url": "http://127.0.0.1/"}, "body.url"),
        ({"url": ""}, "body.url"),
        ({"url": URL, "kinds": ["room.opened"]}, "body.kinds[0]"),
        ({}, "body.url"),
    ],
)
async def test_what_is_wrong_is_named(shop: Shop, body: Any, field_: str) -> None:
    wrong = await ask(shop, "CreateWebhook", 422, body=body)
    assert field_ in wrong["details"]


async def test_bounds_and_other_peoples_apps(shop: Shop) -> None:
    wrong = await ask(shop, "CreateWebhook", 404, body={"url": URL, "appId": "app-none"})
    assert 'App "app-none" not found' in wrong["message"]
    for _ in range(10):
        await ask(shop, "CreateWebhook", 201, body={"url": URL})
    wrong = await ask(shop, "CreateWebhook", 422, body={"url": URL})
    assert "at most 10 webhooks" in wrong["message"]


async def test_private_addresses_where_they_are_allowed(shop: Shop) -> None:
    services = shop.house.services
    services.policy = replace(services.policy, webhook_private_networks=True)
    await ask(shop, "CreateWebhook", 201, body={"url": "http://127.0.0.1:9/"})
