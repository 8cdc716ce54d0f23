"""How many event streams there may be, for how long, and with how much patience."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from innkeeper.core.errors import Exhausted


@dataclass(slots=True)
class EventStreams:
    """The bounds of event streams, in seconds and in numbers; ``open`` counts those of each org.

    One that was silent for ``quiet_s`` gets a comment; one that takes nothing for ``stuck_s`` is cut, and one
    that is ``life_s`` old ends: its client comes back, and goes on where it was.
    """

    of_org_max: int = 50
    all_max: int = 1000
    quiet_s: float = 15.0
    stuck_s: float = 60.0
    life_s: float = 3600.0
    open: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def counted(self, org_id: str) -> Iterator[None]:
        """One more of the org's meanwhile."""
        self.open[org_id] += 1
        try:
            yield
        finally:
            self.open[org_id] -= 1
            if not self.open[org_id]:
                del self.open[org_id]

    def check_room(self, org_id: str) -> None:
        """Raise :class:`Exhausted` where there are as many as may be."""
        if self.open[org_id] >= self.of_org_max:
            raise Exhausted(
                f"Too many event streams: at most {self.of_org_max} of an organization at a time. "
                "Close one, or let one stream serve several readers"
            )
        if self.open.total() >= self.all_max:
            raise Exhausted(f"Too many event streams: at most {self.all_max} on this server")
