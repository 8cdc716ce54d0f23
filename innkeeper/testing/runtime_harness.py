"""What runtime suites stand on: an installation on which drivers come and go, and bounded waiting."""

import asyncio
import socket
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from innkeeper.core.processes import Exit
from innkeeper.core.snapshot import ProcessSeen
from innkeeper.interfaces import PortSpec, ProcessSpec, Runtime

PATIENCE_S = 20.0
_GLANCE_S = 0.01
_CONTAINER_PORT = 7777


async def eventually(check: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask again and again, for a bounded time, until ``check`` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not await check():
        assert time.monotonic() < deadline, f"did not happen in {PATIENCE_S:g} s: {what}"
        await asyncio.sleep(_GLANCE_S)


class RuntimeHarness(ABC):
    """One installation on which drivers come and go."""

    image_ref: str

    def __init__(self) -> None:
        self._drivers: list[Runtime] = []

    @abstractmethod
    def make(self) -> Runtime:
        """A new driver object of the same installation, as after a restart; not opened yet."""

    @abstractmethod
    async def leftovers(self) -> list[str]:
        """What the installation still holds on the machine, in words; its engine aside."""

    async def open(self) -> Runtime:
        """A new driver, opened. Several may be open at once."""
        driver = self.make()
        await driver.open()
        self._drivers.append(driver)
        return driver

    async def close(self) -> None:
        """Remove all that runs, and close every driver."""
        for driver in self._drivers[:1]:
            for process_id in (await driver.observe()).processes:
                await driver.remove(process_id)
            for sandbox_id in (await driver.observe()).sandboxes:
                await driver.remove_sandbox(sandbox_id)
        for driver in self._drivers:
            await driver.close()

    def free_port(self, protocol: str = "tcp") -> int:
        """A port of this machine that the kernel says is free."""
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("", 0))
            return int(probe.getsockname()[1])

    def ports(self, *protocols: str) -> tuple[PortSpec, ...]:
        """Free host ports; the first is the default one."""
        return tuple(
            PortSpec("default" if not at else f"more{at}", _CONTAINER_PORT + at, port, protocol)
            for at, (protocol, port) in enumerate((p, self.free_port(p)) for p in protocols)
        )

    def spec(
        self,
        driver: Runtime,
        ports: tuple[PortSpec, ...] | None = None,
        sandbox_id: str | None = None,
        memory_mb: int = 128,
        **env: str | int,
    ) -> ProcessSpec:
        """A process that serves its ports, unless ``env`` says otherwise."""
        if ports is None:
            ports = self.ports("udp")
        own = driver.capabilities.own_network
        told = ",".join(f"{p.protocol}:{p.container_port if own else p.host_port}" for p in ports)
        return ProcessSpec(
            process_id=str(uuid.uuid4()),
            app_id="app-suite",
            deployment_id="dep-suite",
            image_ref=self.image_ref,
            cpu_millis=500,
            memory_mb=memory_mb,
            ports=ports,
            env={"PROBE_PORTS": told, **{name: str(value) for name, value in env.items()}},
            sandbox_id=sandbox_id,
        )


async def seen(driver: Runtime, process_id: str) -> ProcessSeen | None:
    """What the driver's listing shows of one process."""
    return (await driver.observe()).processes.get(process_id)


async def until_bound(driver: Runtime, spec: ProcessSpec) -> None:
    """Wait for its ports."""

    async def check() -> bool:
        return driver.bound(spec.process_id, spec.ports)

    await eventually(check, f"{spec.process_id} binds its ports")


async def until_exited(driver: Runtime, process_id: str) -> Exit:
    """Wait for its end."""
    ended: list[Exit | None] = []

    async def check() -> bool:
        now = await seen(driver, process_id)
        assert now is not None, "an ended process is listed until it is removed"
        ended.append(now.exit)
        return now.phase == "exited"

    await eventually(check, f"{process_id} ends")
    assert ended[-1] is not None, "an ended process has an exit"
    return ended[-1]
