"""Webhooks: what callers may ask of them, and what is recorded of their deliveries. One transaction each."""

import json
from dataclasses import dataclass
from datetime import datetime

from innkeeper.core import webhooks
from innkeeper.core.accounts import Caller
from innkeeper.core.errors import NotFound, StateConflict
from innkeeper.core.events import check_kinds
from innkeeper.core.moments import from_ms, maybe_from_ms, to_ms
from innkeeper.core.webhooks import Webhook
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import apps, journal
from innkeeper.usecases.journal import Place

# How far ahead a lag is looked for: a webhook that passes over more than that lags all the same.
_LOOKED_AT = 1000
RETENTION_PASSED = "events that it had not taken are past their retention, and lost to it"


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """What CreateWebhook is asked for; ``None`` is all."""

    url: str
    app_id: str | None
    kinds: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class ShownWebhook:
    """``lag_s``: how old the oldest event is that it shall still get."""

    webhook: Webhook
    lag_s: float


def create_webhook(
    tx: Tx, caller: Caller, wanted: NewWebhook, context: Context
) -> tuple[ShownWebhook, str]:
    """One more, told of what happens from now on; and its secret.

    Raises :class:`Invalid`, :class:`NotFound` for the app, :class:`StateConflict` where there are many.
    """
    webhooks.check_url(wanted.url, context.policy.webhook_private_networks)
    check_kinds(wanted.kinds or (), "body.kinds")
    if wanted.app_id is not None:
        apps.require_app(tx, caller.org_id, wanted.app_id)
    if len(tx.all("webhooks.of_org", org_id=caller.org_id)) >= webhooks.OF_ORG_MAX:
        raise StateConflict(
            f"an organization has at most {webhooks.OF_ORG_MAX} webhooks: delete one that is not needed"
        )
    webhook_id, secret = context.ids.prefixed("hook"), webhooks.secret_of(context.ids.secret())
    order, seq = journal.newest(tx)
    tx.run(
        "webhooks.insert",
        webhook_id=webhook_id,
        org_id=caller.org_id,
        app_id=wanted.app_id,
        url=wanted.url,
        secret=secret,
        kinds=json.dumps(sorted(set(wanted.kinds))) if wanted.kinds else None,
        created_at=to_ms(context.now),
        created_by=caller.name,
        sent_order=order,
        sent_seq=seq,
    )
    return get_webhook(tx, caller, webhook_id, context), secret


def list_webhooks(tx: Tx, caller: Caller, _: object, context: Context) -> list[ShownWebhook]:
    """The organization's, oldest first."""
    rows = tx.all("webhooks.of_org", org_id=caller.org_id)
    return [_shown(tx, webhook_from(row), context.now) for row in rows]


def get_webhook(tx: Tx, caller: Caller, webhook_id: str, context: Context) -> ShownWebhook:
    """One. Raises :class:`NotFound`."""
    return _shown(tx, require(tx, caller, webhook_id), context.now)


def delete_webhook(tx: Tx, caller: Caller, webhook_id: str, context: Context) -> None:
    """Send it nothing any more. Raises :class:`NotFound`."""
    if not tx.run("webhooks.delete", webhook_id=webhook_id, org_id=caller.org_id):
        raise NotFound("Webhook", webhook_id)


def enable_webhook(tx: Tx, caller: Caller, webhook_id: str, context: Context) -> ShownWebhook:
    """Send to it again at once: from where it stopped, or from the oldest event that is kept."""
    webhook = require(tx, caller, webhook_id)
    order, seq = webhook.place if journal.kept(tx, webhook.place) else journal.BEGINNING
    tx.run("webhooks.enable", webhook_id=webhook_id, sent_order=order, sent_seq=seq)
    return get_webhook(tx, caller, webhook_id, context)


def require(tx: Tx, caller: Caller, webhook_id: str) -> Webhook:
    """The caller's webhook. Raises :class:`NotFound`."""
    row = tx.one("webhooks.by_id", webhook_id=webhook_id, org_id=caller.org_id)
    if row is None:
        raise NotFound("Webhook", webhook_id)
    return webhook_from(row)


def webhook_from(row: Row) -> Webhook:
    """A webhook from its row."""
    return Webhook(
        webhook_id=row["webhook_id"],
        org_id=row["org_id"],
        app_id=row["app_id"],
        url=row["url"],
        secret=row["secret"],
        kinds=None if row["kinds"] is None else frozenset(json.loads(row["kinds"])),
        created_at=from_ms(row["created_at"]),
        created_by=row["created_by"],
        place=(row["sent_order"], row["sent_seq"]),
        failures=row["failures"],
        failing_since=maybe_from_ms(row["failing_since"]),
        next_try_at=from_ms(row["next_try_at"]) if row["next_try_at"] else None,
        last_error=row["last_error"],
        disabled_at=maybe_from_ms(row["disabled_at"]),
    )


def _shown(tx: Tx, webhook: Webhook, now: datetime) -> ShownWebhook:
    behind = journal.after(tx, webhook.place, _LOOKED_AT)
    waiting = [event.at for event in behind if webhook.wants(event)]
    return ShownWebhook(webhook, max((now - waiting[0]).total_seconds(), 0.0) if waiting else 0.0)


# ---------------------------------------------------------------- for whoever delivers


def enabled(tx: Tx) -> list[Webhook]:
    """All that events are sent to."""
    return [webhook_from(row) for row in tx.all("webhooks.enabled")]


def record_taken(tx: Tx, webhook_id: str, place: Place) -> None:
    """It took, or did not want, all up to ``place``."""
    tx.run("webhooks.taken", webhook_id=webhook_id, sent_order=place[0], sent_seq=place[1])


@dataclass(frozen=True, slots=True)
class Failure:
    """A delivery that failed: since when they do, how many in a row, when the next one is tried."""

    place: Place
    failures: int
    since: datetime
    next_try_at: datetime
    message: str


def record_failure(tx: Tx, webhook_id: str, failure: Failure, now: datetime) -> bool:
    """Note a failure; false where it is to be tried no more: it is disabled then, with the reason."""
    lost = not journal.kept(tx, failure.place)
    if lost or now - failure.since >= webhooks.PATIENCE:
        days = webhooks.PATIENCE.days
        why = RETENTION_PASSED if lost else f"no delivery succeeded for {days} days"
        disable(tx, webhook_id, f"{why}. The last error: {failure.message}", now)
        return False
    tx.run(
        "webhooks.failed",
        webhook_id=webhook_id,
        sent_order=failure.place[0],
        sent_seq=failure.place[1],
        failures=failure.failures,
        failing_since=to_ms(failure.since),
        next_try_at=to_ms(failure.next_try_at),
        last_error=failure.message,
    )
    return True


def begun(tx: Tx, seen: Webhook, now: datetime) -> Webhook | None:
    """It as it is now, to deliver to; ``None`` where it was disabled or deleted since it was ``seen``.

    Where it would miss something when it goes on, it is disabled, so that somebody sees it.
    """
    row = tx.one("webhooks.by_id", webhook_id=seen.webhook_id, org_id=seen.org_id)
    webhook = None if row is None else webhook_from(row)
    if webhook is None or webhook.disabled_at is not None:
        return None
    if not journal.kept(tx, webhook.place):
        disable(tx, webhook.webhook_id, RETENTION_PASSED, now)
        return None
    return webhook


def disable(tx: Tx, webhook_id: str, why: str, now: datetime) -> None:
    """Send it nothing until somebody says so, and say why."""
    tx.run("webhooks.disable", webhook_id=webhook_id, now=to_ms(now), last_error=why)
