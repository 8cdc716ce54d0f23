"""Who holds a port of the shared network: one of our processes, or a stranger."""

import time
from collections.abc import Callable, Iterable, Sequence

from innkeeper.interfaces import PortSpec
from innkeeper.runtime import proc_table
from innkeeper.runtime.process_spec import UID_BASE
from innkeeper.runtime.sock_diag import Bound, SockDiag
from innkeeper.runtime.started import Started

_LOOPBACK = ("127.0.0.1", "::1")
_LOOK_AGAIN_S = (
    0.25  # at a port that a stranger seems to hold: the search for descendants is not cheap
)


class PortOwners:
    """For one thread. ``addresses``: where players come to."""

    def __init__(
        self, addresses: Sequence[str], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._addresses = tuple(addresses)
        self._monotonic = monotonic
        self._diag = SockDiag()
        self._strangers: dict[tuple[str, int], float] = {}

    def close(self) -> None:
        self._diag.close()

    def bound(self, started: Started, ports: Sequence[PortSpec]) -> bool:
        """Whether players' traffic to each port reaches this process or its descendants.
        Microseconds while nobody binds it.

        A socket elsewhere, as one for IPv6 only where players come by IPv4, does not count.
        """
        return bool(ports) and all(
            any(
                taker is not None and self._owns(started, taker)
                for taker in (
                    self._diag.taker(port.protocol, port.host_port, address)
                    for address in self._addresses
                )
            )
            for port in ports
        )

    def connections(self, ports: Iterable[PortSpec]) -> int | None:
        """Established TCP connections; ``None`` with a UDP port, whose players a shared network
        does not show.
        """
        wanted = tuple(ports)
        if any(port.protocol == "udp" for port in wanted):
            return None
        return sum(self._diag.established(port.host_port) for port in wanted)

    def holder(self, protocol: str, port: int, known: Iterable[Started]) -> str | None:
        """Who holds ``port``, in words; ``None`` where it is free. ``known``: our processes."""
        found = self._diag.find(protocol, port, (*self._addresses, *_LOOPBACK))
        return None if not found else self._words(found[0], known)

    def forget(self, process_id: str) -> None:
        """Drop what is remembered of a process that was removed."""
        self._strangers = {key: at for key, at in self._strangers.items() if key[0] != process_id}

    def _owns(self, started: Started, bound: Bound) -> bool:
        if started.uid is not None and started.uid >= UID_BASE:
            return bound.uid == started.uid  # a user that nothing else has
        if not started.alive():
            return False
        if bound.inode in proc_table.socket_inodes(started.pid):
            return True
        key, now = (started.process_id, bound.inode), self._monotonic()
        if now < self._strangers.get(key, now):
            return False
        if any(bound.inode in proc_table.socket_inodes(pid) for pid in started.members(True)):
            self._strangers.pop(key, None)
            return True
        self._strangers[key] = now + _LOOK_AGAIN_S
        return False

    def _words(self, bound: Bound, known: Iterable[Started]) -> str:
        pid = proc_table.owner_of(bound.inode)
        for started in known:
            dedicated = started.uid is not None and started.uid >= UID_BASE
            if pid == started.pid or (dedicated and started.uid == bound.uid):
                return f"process {started.process_id}"
        if pid is None:
            return "another program"
        return f"pid {pid} ({proc_table.name_of(pid)})"
