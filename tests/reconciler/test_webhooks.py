"""Deliveries to real receivers on loopback: signed, in order, at least once, whatever fails in between."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.webhooks import Webhook
from innkeeper.reconciler.perform import Surroundings
from innkeeper.reconciler.webhooks import WebhookKeeper, WebhookPace
from innkeeper.store.opening import open_store
from innkeeper.telemetry.webhook_sender import HttpWebhookSender
from innkeeper.testing.studio import Studio
from innkeeper.usecases import journal, lifecycle, rooms, webhooks
from innkeeper.usecases.rooms import NewRoom
from innkeeper.usecases.tail import Tail, TailPace
from tests.reconciler.receiver import WAIT_S, Receiver, receiver

PACE = WebhookPace(look_s=0.02, save_s=0, quiet_s=WAIT_S, retry_share=0.001)


@dataclass
class Post:
    """A studio whose events are delivered while ``running``."""

    studio: Studio
    sender: HttpWebhookSender
    secrets: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def running(self, pace: WebhookPace = PACE) -> AsyncIterator[None]:
        studio, nothing = self.studio, None
        around = Surroundings(
            studio.store,
            nothing,  # type: ignore[arg-type]
            nothing,  # type: ignore[arg-type]
            studio.clock,
            studio.ids,
            studio.policy,
            "192.0.2.1",
            lambda key: None,
        )
        tail = Tail(studio.store, TailPace(look_s=WAIT_S, gap_s=0))
        keeper = WebhookKeeper(around, tail, self.sender, lambda: 0.0, pace)
        task = asyncio.create_task(keeper.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def add(self, hook: Receiver, *kinds: str, app_id: str | None = None) -> str:
        wanted = webhooks.NewWebhook(hook.url, app_id, kinds or None)
        shown, secret = await self.studio.ask(webhooks.create_webhook, wanted)
        webhook_id = str(shown.webhook.webhook_id)
        self.secrets[webhook_id] = secret
        return webhook_id

    async def rooms(self, count: int) -> list[str]:
        made = [
            await self.studio.ask(rooms.create_room, NewRoom(self.studio.app_id, "Tokyo"))
            for _ in range(count)
        ]
        return [room.room_id for room in made]

    async def told(self) -> list[str]:
        """The ids of all events, in order."""
        events = await self.studio.store.read(lambda tx: journal.after(tx, (0, 0)))
        return [event.event_id for event in events]

    async def look(self, webhook_id: str) -> Webhook:
        shown = await self.studio.ask(webhooks.get_webhook, webhook_id)
        return shown.webhook  # type: ignore[no-any-return]

    async def passed(self, seconds: float) -> None:
        """Time in which the keeper looks."""
        await asyncio.sleep(seconds)

    async def until(self, webhook_id: str, status: str) -> Webhook:
        async with asyncio.timeout(WAIT_S):
            while (found := await self.look(webhook_id)).status != status:
                await asyncio.sleep(0.005)
        return found

    async def settled(self, webhook_id: str) -> None:
        """It has taken all that there is, and that is recorded."""
        last = await self.studio.store.read(journal.newest)
        async with asyncio.timeout(WAIT_S):
            while (await self.look(webhook_id)).place != last:
                await asyncio.sleep(0.005)


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    store = await open_store(tmp_path / "innkeeper.sqlite")
    studio = await Studio(store).open()
    studio.policy = replace(studio.policy, webhook_private_networks=True)
    await studio.deploy(rooms_per_process=10_000)
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the usual certificates takes long
    sender = HttpWebhookSender(private_networks=True, timeout_s=1, tls=no_tls)
    yield Post(studio, sender)
    await sender.close()
    await store.close()


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


async def test_events_are_signed_and_sent_in_order(post: Post, hook: Receiver) -> None:
    await post.rooms(1)  # before it was there: not its own
    webhook_id = await post.add(hook)
    async with post.running():
        made = await post.rooms(5)
        await hook.until(lambda: len(hook.taken) == 5)
        await post.settled(webhook_id)
    assert [got.data["roomId"] for got in hook.got] == made
    assert hook.taken == (await post.told())[-5:] == [got.data["id"] for got in hook.got]
    assert all(got.genuine(post.secrets[webhook_id]) for got in hook.got)
    assert not hook.got[0].genuine("whsec_" + "A" * 44)
    assert (await post.look(webhook_id)).status == "active"


@pytest.mark.parametrize("answer", [(500, {}), (302, {"location": "/"}), "close", "hang"])
async def test_what_is_not_taken_is_sent_again_and_nothing_overtakes_it(
    post: Post, hook: Receiver, answer: Any
) -> None:
    webhook_id = await post.add(hook)
    hook.answers = [(204, {}), answer, answer, answer]
    async with post.running():
        await post.rooms(4)
        await hook.until(lambda: len(hook.taken) == 5)
        await post.settled(webhook_id)
    assert hook.taken == await post.told()
    sent = [got.message_id for got in hook.got]
    assert sent == [hook.taken[0], *[hook.taken[1]] * 4, *hook.taken[2:]]
    assert len({got.body for got in hook.got[1:5]}) == 1
    assert all(got.genuine(post.secrets[webhook_id]) for got in hook.got)
    found = await post.look(webhook_id)
    assert (found.failures, found.last_error, found.failing_since) == (0, None, None)


async def test_a_failing_one_shows_why(post: Post, hook: Receiver) -> None:
    webhook_id = await post.add(hook)
    hook.answers = [(503, {})] * 1000
    async with post.running(replace(PACE, retry_share=1000.0)):
        await post.rooms(1)
        found = await post.until(webhook_id, "failing")
        post.studio.clock.move(30)
        shown = await post.studio.ask(webhooks.get_webhook, webhook_id)
    assert (found.failures, shown.lag_s) == (1, 30)
    assert found.last_error is not None
    assert found.last_error.startswith("answered 503 in ")
    assert found.next_try_at is not None
    assert (found.next_try_at - found.failing_since).total_seconds() == 1  # type: ignore[operator]


async def test_an_end_between_delivery_and_record_repeats_and_leaves_nothing_out(
    post: Post, hook: Receiver
) -> None:
    """Whatever is recorded before the end, the next server goes on with the same ids."""
    webhook_id = await post.add(hook)
    await post.rooms(6)
    told = await post.told()
    for cut in (1, 3):
        hook.taken.clear()
        # Nothing is recorded before the end comes: all that was taken is taken again.
        async with post.running(replace(PACE, save_s=WAIT_S)):
            hook.on_request = _stopping_at(hook, cut)
            await hook.until(partial(_taken, hook, cut))
        assert (await post.look(webhook_id)).place == (0, 0)
    hook.on_request = lambda got: None
    hook.taken.clear()
    hook.answers = []
    async with post.running():
        await post.settled(webhook_id)
    assert hook.taken == told, "from the beginning, with the same ids, and no gap"


def _taken(hook: Receiver, count: int) -> bool:
    return len(hook.taken) >= count


def _stopping_at(hook: Receiver, cut: int) -> Any:
    """After ``cut`` have been taken, the receiver answers no more: the end comes in the middle."""

    def look(got: Any) -> None:
        if len(hook.taken) >= cut:
            hook.answers = ["hang"]

    return look


async def test_a_slow_receiver_holds_up_nobody(post: Post, hook: Receiver) -> None:
    async with receiver() as slow:
        slow.answers = ["hang"] * 1000
        await post.add(slow)
        await post.add(hook)
        async with post.running():
            await post.rooms(20)
            await hook.until(lambda: len(hook.taken) == 21)
        assert slow.taken == []


async def test_only_what_is_wanted_is_sent(post: Post, hook: Receiver) -> None:
    webhook_id = await post.add(hook, "room.destroyed", app_id=post.studio.app_id)
    async with post.running(replace(PACE, quiet_s=0.01)):
        made = await post.rooms(3)
        await post.studio.ask(rooms.destroy_room, (post.studio.app_id, made[1]))
        await hook.until(lambda: len(hook.taken) == 1)
        await post.rooms(3)
        await post.settled(webhook_id)  # its place moves on over what it does not want
    assert [got.data["roomId"] for got in hook.got] == [made[1]]


async def test_one_that_refuses_for_three_days_is_disabled_until_somebody_enables_it(
    post: Post, hook: Receiver
) -> None:
    webhook_id = await post.add(hook)
    hook.answers = [(500, {})] * 100_000
    async with post.running():
        await post.rooms(2)
        await post.until(webhook_id, "failing")
        post.studio.clock.move(3 * 86400 - 60)
        tries = len(hook.got)
        await hook.until(lambda: len(hook.got) > tries + 1)
        assert (await post.look(webhook_id)).status == "failing"
        post.studio.clock.move(61)
        found = await post.until(webhook_id, "disabled")
        assert "no delivery succeeded for 3 days. The last error: answered 500" in str(
            found.last_error
        )
        hook.answers = []
        await post.studio.ask(webhooks.enable_webhook, webhook_id)
        await post.settled(webhook_id)
    assert hook.taken == await post.told()


async def test_one_that_lost_events_to_their_age_is_disabled(post: Post, hook: Receiver) -> None:
    await post.rooms(1)
    webhook_id = await post.add(hook)
    await post.rooms(2)
    post.studio.clock.move(post.studio.policy.event_retention_hours * 3600 + 1)
    await post.rooms(1)
    await post.studio.store.write(lambda tx: lifecycle.sweep(tx, post.studio.context()))
    async with post.running():
        found = await post.until(webhook_id, "disabled")
        assert found.last_error == webhooks.RETENTION_PASSED
        assert hook.got == []
        await post.studio.ask(webhooks.enable_webhook, webhook_id)
        await hook.until(lambda: len(hook.taken) == 1)
    assert hook.taken == await post.told(), "all that is kept"


async def test_one_that_is_gone_or_deleted_gets_nothing_more(post: Post, hook: Receiver) -> None:
    gone = await post.add(hook)
    hook.answers = [(410, {})]
    async with post.running():
        await post.rooms(1)
        found = await post.until(gone, "disabled")
        assert "410 Gone" in str(found.last_error)
        async with receiver() as other:
            deleted = await post.add(other)
            await post.rooms(1)
            await other.until(lambda: len(other.taken) == 1)
            await post.studio.ask(webhooks.delete_webhook, deleted)
            seen = [len(other.got)]
            async with asyncio.timeout(WAIT_S):
                while len(seen) < 2 or seen[-1] != seen[-2]:  # until the keeper has seen it
                    await post.rooms(1)
                    await post.passed(3 * PACE.look_s)
                    seen.append(len(other.got))
    assert len(hook.got) == 1


@dataclass
class LateLook:
    """The keeper's second look: ``began`` with what is there then, ``over`` after the row has ``status``.

    There is no third one, which would put right what the second did.
    """

    post: Post
    webhook_id: str
    status: str
    began: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    looks: int = 0

    def put_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read = self.post.studio.store.read

        async def slow_read(fn: Any) -> Any:
            rows = await read(fn)
            if fn is webhooks.enabled:
                self.looks += 1
                if self.looks > 2:
                    await asyncio.Event().wait()
                if self.looks == 2:
                    self.began.set()
                    await self.post.until(self.webhook_id, self.status)
                    await self.post.passed(0.02)  # in which a delivery that is over ends
                    self.over.set()
            return rows

        monkeypatch.setattr(self.post.studio.store, "read", slow_read)

    async def around_a_room(self) -> None:
        """Make a room while it is under way, and wait until what follows from it would have happened."""
        async with asyncio.timeout(WAIT_S):
            await self.began.wait()
            await self.post.rooms(1)
            await self.over.wait()
        await self.post.passed(0.05)


@pytest.mark.parametrize(("answer", "status"), [((410, {}), "disabled"), ((500, {}), "failing")])
async def test_a_look_that_began_before_a_failure_begins_nothing_and_hurries_nobody(
    post: Post, hook: Receiver, monkeypatch: pytest.MonkeyPatch, answer: Any, status: str
) -> None:
    """What it read says "enabled, no failures": but the failure came while it was under way."""
    webhook_id = await post.add(hook)
    hook.answers = [answer]
    late = LateLook(post, webhook_id, status)
    late.put_on(monkeypatch)
    async with post.running(replace(PACE, look_s=0, retry_share=1000.0)):
        await late.around_a_room()
        assert len(hook.got) == 1


async def test_enabling_makes_a_waiting_one_try_at_once(post: Post, hook: Receiver) -> None:
    webhook_id = await post.add(hook)
    hook.answers = [(500, {})]
    async with post.running(replace(PACE, retry_share=1000.0)):
        await post.rooms(1)
        await post.until(webhook_id, "failing")
        await post.studio.ask(webhooks.enable_webhook, webhook_id)
        await hook.until(lambda: len(hook.taken) == 2)
