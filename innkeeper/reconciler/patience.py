"""How long the loop waits for the runtime: a call that hangs must hold nothing up for ever."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from innkeeper.core.errors import RuntimeAway

T = TypeVar("T")

# Longer than the patience of any driver of ours with its engine: they know better what went wrong.
CALL_MAX_S = 300.0


async def answered(call: Awaitable[T]) -> T:
    """What the call answers. Raises what it raises, and :class:`RuntimeAway` where no answer comes in time.

    What was asked for may still be done later: the next listings show it.
    """
    try:
        async with asyncio.timeout(CALL_MAX_S):
            return await call
    except TimeoutError as late:
        raise RuntimeAway(f"the runtime has not answered for {CALL_MAX_S:g} s") from late
