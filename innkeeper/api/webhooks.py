"""Webhooks, beyond the contract: shapes first, rows last.

All of them need what changes processes: URLs often hold secrets of their receivers, and who gets the events
of an organization is more than who may look at them.
"""

from typing import Any

from msgspec import UNSET

from innkeeper.api import wire_generated as wire
from innkeeper.api.apps import read_nothing
from innkeeper.api.operation import Operation
from innkeeper.api.processes import write_nothing
from innkeeper.api.request import Request
from innkeeper.api.services import Services
from innkeeper.core.accounts import Caller
from innkeeper.core.webhooks import headers_of, ping_message
from innkeeper.interfaces import Context, Outcome
from innkeeper.usecases import webhooks
from innkeeper.usecases.webhooks import NewWebhook, ShownWebhook


def read_new_webhook(request: Request) -> NewWebhook:
    """What CreateWebhook is asked for; no kinds at all are all of them."""
    body: wire.InnkeeperNewWebhook = request.body
    return NewWebhook(
        url=body.url,
        app_id=None if body.appId is UNSET else body.appId,
        kinds=tuple(body.kinds) if body.kinds else None,
    )


def read_webhook_id(request: Request) -> str:
    """Which one."""
    webhook_id: str = request.path["webhookId"]
    return webhook_id


async def run_ping(
    services: Services, caller: Caller, webhook_id: str, context: Context
) -> Outcome:
    """Send a test event now, from this server, whether it is disabled or not. Raises :class:`NotFound`."""
    webhook = await services.store.read(lambda tx: webhooks.require(tx, caller, webhook_id))
    message = ping_message(context.ids.prefixed("ping"), webhook, context.now)
    headers = headers_of(message, webhook.secret, context.now)
    return await services.webhook_sender.send(webhook.url, headers, message.body)


def write_webhook(shown: ShownWebhook) -> wire.InnkeeperWebhook:
    """A webhook, without its secret."""
    webhook = shown.webhook
    return wire.InnkeeperWebhook(
        webhookId=webhook.webhook_id,
        orgId=webhook.org_id,
        appId=webhook.app_id or UNSET,
        url=webhook.url,
        kinds=UNSET if webhook.kinds is None else sorted(webhook.kinds),
        status=webhook.status,
        createdAt=webhook.created_at,
        createdBy=webhook.created_by,
        failures=webhook.failures,
        lastError=webhook.last_error or UNSET,
        failingSince=webhook.failing_since or UNSET,
        nextTryAt=UNSET if webhook.disabled_at else webhook.next_try_at or UNSET,
        disabledAt=webhook.disabled_at or UNSET,
        lagSeconds=round(shown.lag_s, 3),
    )


def write_webhooks(listed: list[ShownWebhook]) -> wire.InnkeeperWebhooksPage:
    """All of an organization's."""
    return wire.InnkeeperWebhooksPage(webhooks=[write_webhook(shown) for shown in listed])


def write_made(made: tuple[ShownWebhook, str]) -> wire.InnkeeperCreatedWebhook:
    """A new one with its secret, for the only time."""
    return wire.InnkeeperCreatedWebhook(webhook=write_webhook(made[0]), secret=made[1])


def write_ping(outcome: Outcome) -> wire.InnkeeperWebhookPing:
    """How it went."""
    return wire.InnkeeperWebhookPing(delivered=outcome.taken, message=outcome.message)


_SCOPE = "processes:read-write"


def _row(name: str, read: Any, run: Any, write: Any, kind: Any = "write") -> Operation:
    return Operation(name, read, run, write, kind, _SCOPE)


OPERATIONS = (
    _row("GetWebhooks", read_nothing, webhooks.list_webhooks, write_webhooks, "read"),
    _row("CreateWebhook", read_new_webhook, webhooks.create_webhook, write_made),
    _row("GetWebhook", read_webhook_id, webhooks.get_webhook, write_webhook, "read"),
    _row("DeleteWebhook", read_webhook_id, webhooks.delete_webhook, write_nothing),
    _row("PingWebhook", read_webhook_id, run_ping, write_ping, "async"),
    _row("EnableWebhook", read_webhook_id, webhooks.enable_webhook, write_webhook),
)
