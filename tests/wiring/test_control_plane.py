"""One server among others: whom it wakes, and when it reconciles."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from innkeeper.config import Settings
from innkeeper.core.ids import Ids
from innkeeper.interfaces import LockKey
from innkeeper.reconciler.lease import RECONCILER
from innkeeper.runtime.fake import FakeHost, FakeRuntime
from innkeeper.store.alone import Alone
from innkeeper.store.opening import open_store
from innkeeper.usecases import leases
from innkeeper.wiring.chance import Chance
from innkeeper.wiring.control_plane import ControlPlane, Keeping
from innkeeper.wiring.runtimes import RuntimeParts, now

KEY = ("app-1", "Tokyo")


class Street(Alone):
    """Keeps what is sent, and lets the test say what comes."""

    def __init__(self) -> None:
        self.sent: list[LockKey] = []
        self.hear: Callable[[LockKey], None]

    def listen(self, wake: Callable[[LockKey], None], freed: Callable[[], None]) -> None:
        self.hear = wake

    def wake(self, key: LockKey) -> None:
        self.sent.append(key)


async def test_a_wake_up_goes_to_the_server_that_reconciles(tmp_path: Path) -> None:
    store, street = await open_store(tmp_path / "innkeeper.db"), Street()
    builder: Any = None
    parts = RuntimeParts(FakeRuntime(now, FakeHost()), builder)
    settings = Settings(data_dir=tmp_path)
    one = ControlPlane(
        settings,
        Keeping(store, street, True),
        Ids(Chance().getrandbits),
        settings.policy("x"),
        parts,
    )

    def shown() -> float | None:
        return one.services.registry.get_sample_value("innkeeper_reconciles")

    assert shown() == 0
    one.services.wake(KEY)
    street.hear(KEY)
    assert street.sent == [KEY], "it reconciles for nobody yet"

    running = asyncio.create_task(one.lease.run(one.reconcile))
    async with asyncio.timeout(10):
        while one.work is None:
            await asyncio.sleep(0)
    assert shown() == 1
    woken: list[LockKey] = []
    one.work.reconciler.wake = woken.append  # type: ignore[method-assign]
    one.services.wake(KEY)
    street.hear(("app-2", "Tokyo"))
    assert woken == [KEY, ("app-2", "Tokyo")]
    assert street.sent == [KEY]

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert one.work is None
    one.services.wake(KEY)
    assert street.sent == [KEY, KEY]
    seen = await store.read(lambda tx: leases.look(tx, RECONCILER))
    assert seen is not None
    assert seen.holder is None, "it gave the lease back"
    await store.close()
