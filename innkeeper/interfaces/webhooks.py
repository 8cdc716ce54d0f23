"""What sends an event to a webhook."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery went. ``message`` is for people; ``gone``: the receiver wants no more, ever."""

    taken: bool
    message: str
    gone: bool = False


class WebhookSender(Protocol):
    """Sends one message, once. Never raises for what the receiver or the network does."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Within its time limit; follows no redirect, and refuses addresses that are not public."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
