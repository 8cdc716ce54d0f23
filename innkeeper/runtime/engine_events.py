"""The engine's event stream as hints: which process changed. Comes back after the engine was away."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

from innkeeper.core.errors import RuntimeAway
from innkeeper.runtime.container_spec import LABEL_INSTALLATION, LABEL_PROCESS
from innkeeper.runtime.engine import Engine

_log = logging.getLogger(__name__)
_ENDS = frozenset({"die", "died", "oom"})
_RETRY_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


async def process_events(
    engine: Engine,
    installation: str,
    closed: asyncio.Event,
    revive: Callable[[], Awaitable[None]] | None,
    lost: Callable[[], None],
) -> AsyncIterator[str]:
    """Process ids, until ``closed`` is set. While the engine is away: ``revive`` it, wait longer."""
    failures = 0
    while not closed.is_set():
        try:
            async for process_id in _stream(engine, installation, closed):
                failures = 0
                yield process_id
        except RuntimeAway as error:
            if not failures:
                _log.warning("%s", error.message)
        lost()
        if closed.is_set():
            return
        await _pause(closed, _RETRY_S[min(failures, len(_RETRY_S) - 1)])
        failures += 1
        if revive is not None and not closed.is_set():
            try:
                await revive()
            except (RuntimeAway, OSError) as error:
                _log.warning("the engine could not be started: %s", error)


async def _stream(
    engine: Engine, installation: str, closed: asyncio.Event
) -> AsyncGenerator[str, None]:
    filters = json.dumps({"type": ["container"], "label": [f"{LABEL_INSTALLATION}={installation}"]})
    events = engine.lines("GET", "/events", params={"filters": filters})
    ending = asyncio.ensure_future(closed.wait())
    coming: asyncio.Future[dict[str, Any]] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(events))
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                return
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            if "error" in event:
                raise RuntimeAway(f"the engine tells no events: {event['error']}")
            process_id = ((event.get("Actor") or {}).get("Attributes") or {}).get(LABEL_PROCESS)
            # Everything else that happens to a container is our own doing.
            if process_id and str(event.get("Action") or event.get("status")) in _ENDS:
                yield str(process_id)
    finally:
        ending.cancel()
        if coming is not None and not coming.done():
            # A generator cannot be closed while it is being waited for.
            coming.cancel()
            await asyncio.wait({coming})
        await events.aclose()


async def _pause(closed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await closed.wait()
    except TimeoutError:
        return
