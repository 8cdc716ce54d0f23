"""In place of neighbours where there can be none: the embedded store serves one server."""

from collections.abc import Callable

from innkeeper.interfaces import LockKey


class Alone:
    """See :class:`~innkeeper.interfaces.Neighbours`."""

    def listen(self, wake: Callable[[LockKey], None], freed: Callable[[], None]) -> None:
        """Nobody sends anything."""

    def wake(self, key: LockKey) -> None:
        """Nobody hears it."""

    def tell_freed(self) -> None:
        """Nobody hears it."""

    async def show(self, fence: int) -> bool:
        """Nobody else can be."""
        return True

    async def hide(self, fence: int) -> None:
        """Nobody looks."""

    async def gone(self, fence: int) -> bool:
        """There is nobody to ask."""
        return False

    async def close(self) -> None:
        """There is nothing."""
