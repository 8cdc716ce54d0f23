"""Delivers events to webhooks: at least once, in order, each webhook by a task of its own.

Only the server that holds the reconciler's lease does it. The place up to which a webhook has taken events is
in the store, and moves only after a 2xx: whatever ends in between, the event is sent again, with the same id.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from innkeeper.core.errors import InnkeeperError, LeaseLost
from innkeeper.core.events import Event
from innkeeper.core.webhooks import Webhook, headers_of, message_of, retry_after_s
from innkeeper.interfaces import Outcome, WebhookSender
from innkeeper.reconciler.perform import Surroundings
from innkeeper.usecases import journal, webhooks
from innkeeper.usecases.journal import Place
from innkeeper.usecases.tail import Tail
from innkeeper.usecases.webhooks import Failure

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WebhookPace:
    """In seconds. ``look_s``: how soon a new webhook, or one that was enabled, is seen. ``save_s``: how long
    what was taken may go unrecorded while more is being sent; ``quiet_s``: the same while nothing is.
    ``retry_share``: how much of the waits between tries is waited (for tests).
    """

    look_s: float = 2.0
    save_s: float = 0.5
    quiet_s: float = 60.0
    retry_share: float = 1.0


class WebhookKeeper:
    """A task for each webhook that is enabled. ``chance`` gives numbers from 0 to 1."""

    def __init__(
        self,
        around: Surroundings,
        tail: Tail,
        sender: WebhookSender,
        chance: Callable[[], float],
        pace: WebhookPace | None = None,
    ) -> None:
        self._around = around
        self._tail = tail
        self._sender = sender
        self._chance = chance
        self._pace = pace or WebhookPace()
        self._tasks: dict[str, tuple[_Delivery, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Until cancelled. A store that is away, and whatever a receiver does, ends nothing."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                began = loop.time()
                try:
                    self._match(await self._around.store.read(webhooks.enabled), began)
                except InnkeeperError as away:
                    log.warning("the webhooks cannot be read: %s", away)
                await asyncio.sleep(self._pace.look_s)
        finally:
            tasks = [task for _, task in self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _match(self, wanted: list[Webhook], began: float) -> None:
        """Begin what is new, end what is gone, begin anew what has ended or was enabled again.

        ``began``: when they were read. A row without failures was enabled again only if one had been recorded
        by then.
        """
        rows = {webhook.webhook_id: webhook for webhook in wanted}
        for webhook_id, (delivery, task) in list(self._tasks.items()):
            row = rows.get(webhook_id)
            if row is None or task.done():
                task.cancel()
                del self._tasks[webhook_id]
            elif row.failures == 0 and delivery.failed_before(began):
                delivery.try_now.set()
        for webhook_id, row in rows.items():
            if webhook_id not in self._tasks:
                delivery = _Delivery(self._around, self._sender, self._chance, self._pace, row)
                self._tasks[webhook_id] = delivery, asyncio.create_task(delivery.run(self._tail))


class _Delivery:
    """To one webhook, one event after the other."""

    def __init__(
        self,
        around: Surroundings,
        sender: WebhookSender,
        chance: Callable[[], float],
        pace: WebhookPace,
        webhook: Webhook,
    ) -> None:
        self._around = around
        self._sender = sender
        self._chance = chance
        self._pace = pace
        self.try_now = asyncio.Event()
        # When the latest failure was known to stand in the store.
        self._recorded_at: float | None = None
        self._take_up(webhook)

    def _take_up(self, webhook: Webhook) -> None:
        self._webhook = webhook
        self._since, self._failures = webhook.failing_since, webhook.failures
        self._recorded_at = asyncio.get_running_loop().time() if webhook.failures else None

    def failed_before(self, moment: float) -> bool:
        """Whether its latest failure was recorded before ``moment``, and nothing was taken since."""
        return self._recorded_at is not None and self._recorded_at < moment

    async def run(self, tail: Tail) -> None:
        """Until cancelled or disabled. After a fault of the store's it begins anew, from what is recorded."""
        try:
            await self._run(tail)
        except LeaseLost:
            pass  # whoever took over goes on
        except InnkeeperError as away:
            log.warning("webhook %s: %s", self._webhook.webhook_id, away)
        except Exception:
            log.exception("webhook %s: its delivery broke off", self._webhook.webhook_id)

    async def _run(self, tail: Tail) -> None:
        around, seen, pace = self._around, self._webhook, self._pace
        # The look that found it may have begun before it was disabled, or took what is taken now.
        webhook = await around.record(lambda tx, c: webhooks.begun(tx, seen, c.now))
        if webhook is None:
            return
        self._take_up(webhook)
        if webhook.next_try_at is not None:
            await self._wait((webhook.next_try_at - around.clock()).total_seconds())
        loop = asyncio.get_running_loop()
        saved_at, place, saved = loop.time(), webhook.place, webhook.place
        following = tail.follow(webhook.org_id, place, webhook.wants, pace.quiet_s)
        async with aclosing(following) as steps:
            async for upto, events in steps:
                for event in events:
                    if not await self._delivered(event, place):
                        return
                    place = journal.place_of(event)
                    if loop.time() - saved_at >= pace.save_s:
                        await self._save(place)
                        saved_at, saved = loop.time(), place
                place = upto
                if place != saved and (events or loop.time() - saved_at >= pace.save_s):
                    await self._save(place)
                    saved_at, saved = loop.time(), place

    async def _save(self, place: Place) -> None:
        webhook_id = self._webhook.webhook_id
        await self._around.record(lambda tx, c: webhooks.record_taken(tx, webhook_id, place))

    async def _delivered(self, event: Event, before: Place) -> bool:
        """Try until it is taken; false where it is to be tried no more."""
        message = message_of(event)
        while True:
            headers = headers_of(message, self._webhook.secret, self._around.clock())
            outcome = await self._sender.send(self._webhook.url, headers, message.body)
            if outcome.taken:
                self._failures, self._since, self._recorded_at = 0, None, None
                return True
            if not await self._failed(outcome, before):
                return False

    async def _failed(self, outcome: Outcome, place: Place) -> bool:
        """Note it, and wait for the next try; false where there is none."""
        around, webhook_id = self._around, self._webhook.webhook_id
        if outcome.gone:
            why = "the receiver answered 410 Gone: it wants no more"
            await around.record(lambda tx, c: webhooks.disable(tx, webhook_id, why, c.now))
            return False
        now = around.clock()
        self._failures, self._recorded_at = self._failures + 1, None
        self._since = since = self._since or now
        wait_s = retry_after_s(self._failures, self._chance())
        again = now + timedelta(seconds=wait_s)
        failure = Failure(place, self._failures, since, again, outcome.message)
        self.try_now.clear()
        if not await around.record(
            lambda tx, c: webhooks.record_failure(tx, webhook_id, failure, c.now)
        ):
            return False
        self._recorded_at = asyncio.get_running_loop().time()
        await self._wait(wait_s)
        return True

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            # Not wait_for: where it is enabled as we are cancelled, it goes on as if we were not.
            async with asyncio.timeout(max(seconds, 0) * self._pace.retry_share):
                await self.try_now.wait()
