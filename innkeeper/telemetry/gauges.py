"""What runs and what is promised, as gauges for ``/metrics``. Asked of the store when somebody scrapes."""

from prometheus_client import CollectorRegistry, Gauge

from innkeeper.interfaces import Row, Store, Tx

_LIVE = ("starting", "running", "draining", "stopping")


class Gauges:
    """Gauges of one installation; labels are bounded: statuses of processes."""

    def __init__(self, store: Store, registry: CollectorRegistry) -> None:
        self._store = store

        def gauge(name: str, told: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(name, told, labels, namespace="innkeeper", registry=registry)

        self._processes = gauge("processes", "Processes, by status", ("status",))
        self._rooms = gauge("rooms_active", "Rooms allocated to a process")
        self._cpu = gauge("cpu_millis_promised", "CPU promised, 1/1000 core")
        self._cpu_total = gauge("cpu_millis", "CPU that may be promised, 1/1000 core")
        self._memory = gauge("memory_mb_promised", "Memory promised, MB")
        self._memory_total = gauge("memory_mb", "Memory that may be promised, MB")
        self._ports = gauge("host_ports_owned", "Host ports in use by games")

    async def refresh(self) -> None:
        """Ask the store. Raises :class:`~innkeeper.core.errors.Unavailable` where it is away."""
        counts, machine, ports, rooms = await self._store.read(_ask)
        by_status = {row["status"]: row["count"] for row in counts}
        for status in _LIVE:
            self._processes.labels(status).set(by_status.get(status, 0))
        self._rooms.set(rooms)
        self._ports.set(ports)
        if machine is not None:
            self._cpu.set(machine["cpu_millis_promised"])
            self._cpu_total.set(machine["cpu_millis"])
            self._memory.set(machine["memory_mb_promised"])
            self._memory_total.set(machine["memory_mb"])


def _ask(tx: Tx) -> tuple[list[Row], Row | None, int, int]:
    ports, rooms = tx.one("gauges.ports_owned"), tx.one("gauges.rooms_active")
    return (
        list(tx.all("gauges.processes_by_status")),
        tx.one("capacity.machine"),
        0 if ports is None else ports["count"],
        0 if rooms is None else rooms["count"],
    )
