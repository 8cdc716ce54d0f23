"""The other servers of the same installation, as far as one has to do with another."""

from collections.abc import Callable
from typing import Protocol

from innkeeper.interfaces.store import LockKey


class Neighbours(Protocol):
    """Hints between servers, and whether one is still there. Nothing here is the truth: what is lost or wrong
    costs time only, for a timer finds the same work, and fences decide whose writes count.
    """

    def listen(self, wake: Callable[[LockKey], None], freed: Callable[[], None]) -> None:
        """Whom to call when another server sends a key, or gives its lease back."""
        ...

    def wake(self, key: LockKey) -> None:
        """Send a key (app id, region) that a pass should look at; soon, and never fails the caller."""
        ...

    def tell_freed(self) -> None:
        """Tell those who wait for a lease that it is free; soon, and never fails the caller."""
        ...

    async def show(self, fence: int) -> bool:
        """Be seen as the holder with this fence while we live. False: another is, or the store is away."""
        ...

    async def hide(self, fence: int) -> None:
        """Be seen so no longer."""
        ...

    async def gone(self, fence: int) -> bool:
        """Whether the holder with this fence has ended or lost its store; false where nobody can tell."""
        ...

    async def close(self) -> None:
        """Let go of the store. What was not sent yet is lost."""
        ...
