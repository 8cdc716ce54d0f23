"""Webhooks in a whole control plane: the server that reconciles sends what happens, as the settings allow."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from innkeeper.config import Settings
from innkeeper.core.ids import Ids
from innkeeper.runtime.fake import FakeHost, FakeRuntime
from innkeeper.store.alone import Alone
from innkeeper.store.opening import open_store
from innkeeper.testing.studio import MovedClock, Studio
from innkeeper.usecases import rooms, webhooks
from innkeeper.usecases.rooms import NewRoom
from innkeeper.wiring.chance import Chance
from innkeeper.wiring.control_plane import ControlPlane, Keeping
from innkeeper.wiring.runtimes import RuntimeParts, now
from tests.reconciler.receiver import receiver


async def test_who_reconciles_tells_the_webhooks(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "innkeeper.db")
    settings = Settings(data_dir=tmp_path, webhook_private_networks=True)
    studio = await Studio(store, MovedClock(now())).open()  # what is old is forgotten
    studio.policy = replace(settings.policy("play.test"), regions=("Tokyo",))
    assert studio.policy.webhook_private_networks
    await studio.deploy()
    builder: Any = None
    one = ControlPlane(
        settings,
        Keeping(store, Alone(), True),
        Ids(Chance().getrandbits),
        studio.policy,
        RuntimeParts(FakeRuntime(now, FakeHost()), builder),
    )
    async with receiver() as hook:
        wanted = webhooks.NewWebhook(hook.url, None, ("room.created",))
        _, secret = await studio.ask(webhooks.create_webhook, wanted)
        running = asyncio.create_task(one.lease.run(one.reconcile))
        made = await studio.ask(rooms.create_room, NewRoom(studio.app_id, "Tokyo"))
        await hook.until(lambda: len(hook.taken) == 1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert hook.got[0].data["roomId"] == made.room_id
    assert hook.got[0].genuine(secret)
    await one.services.webhook_sender.close()
    await store.close()
