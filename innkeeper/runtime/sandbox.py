"""Network sandboxes: a small container holds a network namespace with its published ports on our own bridge.

A process's container joins it (``NetworkMode: container:...``), so that the slow part of a start, the
network, is made ahead. Packets go through the kernel only.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from innkeeper.core.errors import PortTaken, RuntimeAway, StartFailed
from innkeeper.interfaces import PortSpec
from innkeeper.runtime import holder, proc_table
from innkeeper.runtime.container_spec import (
    LABEL_INSTALLATION,
    ContainerSettings,
    address_of,
    holder_body,
    sandbox_name,
)
from innkeeper.runtime.engine import Answer, Engine
from innkeeper.runtime.sock_diag import SockDiag
from innkeeper.runtime.subnets import candidates, routed

_log = logging.getLogger(__name__)
# "listen udp4 :2345: bind: address already in use", "Bind for 0.0.0.0:80 failed: port is already allocated"
_TAKEN = re.compile(r":(\d+)(?:: bind: address already in use| failed: port is already allocated)")
_MAKING_MAX = 4  # an engine adds a sandbox's rules under one lock; more at once only wait


@dataclass(frozen=True, slots=True)
class SandboxFacts:
    """A running sandbox: its holder's container and pid, and its private IPv4 address."""

    container_id: str
    pid: int
    address: str


class Sandboxes:
    """The sandboxes of one installation, and the bridge network they are on."""

    def __init__(self, engine: Engine, settings: ContainerSettings) -> None:
        self._engine = engine
        self.settings = settings
        self._image = f"localhost/{settings.prefix}/holder:1"
        self._making = asyncio.Semaphore(_MAKING_MAX)
        self._known: dict[str, SandboxFacts] = {}
        self.gateway = ""

    async def open(self) -> None:
        """Make the network and the holder's image, or find them made."""
        await self._ensure_network()
        if not (await self._engine.call("GET", f"/images/{self._image}/json")).ok:
            await self._build_holder()

    def known(self, sandbox_id: str) -> SandboxFacts | None:
        """What is remembered of a sandbox."""
        return self._known.get(sandbox_id)

    def forget(self, sandbox_id: str) -> None:
        """Ask the engine again when next needed."""
        self._known.pop(sandbox_id, None)

    async def make(self, sandbox_id: str, ports: Sequence[PortSpec]) -> SandboxFacts:
        """Make it, or find it made. Raises ``PortTaken``, ``StartFailed``, ``RuntimeAway``."""
        known = self._known.get(sandbox_id)
        if known is not None and _lives(known.pid):
            return known
        async with self._making:
            name = sandbox_name(self.settings, sandbox_id)
            body = holder_body(sandbox_id, ports, self.settings, self._image, self.settings.prefix)
            created = await self._engine.call(
                "POST", "/containers/create", params={"name": name}, body=body
            )
            if not created.ok and not created.in_use:
                raise StartFailed(f"the network sandbox could not be made: {created.message}")
            if created.in_use:
                facts = await self.find(sandbox_id)
                if facts is not None:
                    return facts
            started = await self._engine.call("POST", f"/containers/{name}/start")
            if not started.ok:
                await self._give_up(sandbox_id)
                raise _failure(started)
            facts = await self.find(sandbox_id)
        if facts is None:
            raise StartFailed("the network sandbox ended as soon as it was made")
        return facts

    async def _give_up(self, sandbox_id: str) -> None:
        """Remove what would not start, so that a repeat makes it anew; the failure itself is told."""
        try:
            await self.remove(sandbox_id)
        except RuntimeAway as error:
            _log.warning("%s", error.message)

    async def find(self, sandbox_id: str) -> SandboxFacts | None:
        """Ask the engine for a running sandbox's facts, and remember them."""
        name = sandbox_name(self.settings, sandbox_id)
        answer = await self._engine.call("GET", f"/containers/{name}/json")
        if not answer.ok:
            return None
        state = answer.data["State"]
        address = address_of(answer.data.get("NetworkSettings"))
        if not state.get("Running") or not state.get("Pid") or address is None:
            return None
        facts = SandboxFacts(answer.data["Id"], state["Pid"], address)
        self._known[sandbox_id] = facts
        return facts

    async def remove(self, sandbox_id: str) -> None:
        """Remove it; nothing where it is gone. Raises ``RuntimeAway`` where the engine refuses."""
        self.forget(sandbox_id)
        await force_remove(self._engine, sandbox_name(self.settings, sandbox_id))

    async def remove_network(self) -> None:
        """Remove the bridge, once no sandbox is left."""
        answer = await self._engine.call("DELETE", f"/networks/{self.settings.prefix}")
        if not answer.ok and answer.status != 404:
            raise RuntimeAway(f"the network could not be removed: {answer.message}")

    async def _ensure_network(self) -> None:
        name = self.settings.prefix
        answer = await self._engine.call("GET", f"/networks/{name}")
        if answer.status == 404:
            for subnet in candidates(self.settings.installation, routed()):
                made = await self._create_network(name, str(subnet), str(subnet[1]))
                if made.ok:
                    break
            else:
                raise RuntimeAway(f"the network could not be made: {made.message}")
            answer = await self._engine.call("GET", f"/networks/{name}")
        if not answer.ok:
            raise RuntimeAway(f"the network cannot be read: {answer.message}")
        configs = answer.data["IPAM"]["Config"]
        self.gateway = next(str(c["Gateway"]) for c in configs if "." in c.get("Gateway", ""))

    async def _create_network(self, name: str, subnet: str, gateway: str) -> Answer:
        labels = {LABEL_INSTALLATION: self.settings.installation}
        bridge = f"ik-{self.settings.installation[:8]}"
        if self._engine.is_podman:
            # Podman's own call, so that no name server is started for it.
            body = {
                "name": name,
                "driver": "bridge",
                "dns_enabled": False,
                "network_interface": bridge,
                "subnets": [{"subnet": subnet, "gateway": gateway}],
                "labels": labels,
            }
            return await self._engine.call("POST", "/libpod/networks/create", body=body)
        body = {
            "Name": name,
            "Driver": "bridge",
            "CheckDuplicate": True,
            "IPAM": {"Config": [{"Subnet": subnet, "Gateway": gateway}]},
            "Options": {"com.docker.network.bridge.name": bridge},
            "Labels": labels,
        }
        return await self._engine.call("POST", "/networks/create", body=body)

    async def _build_holder(self) -> None:
        async def content() -> AsyncIterator[bytes]:
            yield holder.context()

        problem = ""
        async for line in self._engine.lines(
            "POST",
            "/build",
            params={"t": self._image, "rm": True, "forcerm": True, "networkmode": "none"},
            headers={"Content-Type": "application/x-tar"},
            content=content(),
            read_timeout_s=60.0,
        ):
            problem = str(line.get("error") or problem)
        if problem:
            raise RuntimeAway(f"the holder's image could not be built: {problem}")


def _lives(pid: int) -> bool:
    """Whether a holder may still be there: an engine starts one anew that was ended from outside."""
    found = proc_table.stat(pid)
    return found is not None and found.state not in "ZX"


async def force_remove(engine: Engine, name: str) -> None:
    """Kill and remove a container with its volumes; nothing where it is gone."""
    answer = await engine.call("DELETE", f"/containers/{name}", params={"force": True, "v": True})
    # 409: another caller's removal is under way.
    if not answer.ok and not answer.missing and answer.status != 409:
        raise RuntimeAway(f"{name} could not be removed: {answer.message}")


def _failure(answer: Answer) -> PortTaken | StartFailed:
    taken = _TAKEN.search(answer.message)
    if taken is None:
        return StartFailed(f"the network sandbox could not be started: {answer.message}")
    port = int(taken[1])
    return PortTaken(port, _owner(port))


def _owner(port: int) -> str:
    """Who has bound a port of this machine, in words. Slow: only for telling what went wrong."""
    diag = SockDiag()
    try:
        bound = [b for protocol in ("tcp", "udp") for b in diag.bound(protocol) if b.port == port]
    finally:
        diag.close()
    pids = [proc_table.owner_of(one.inode) for one in bound]
    pid = next((pid for pid in pids if pid is not None), None)
    return "another program" if pid is None else f"pid {pid} ({proc_table.name_of(pid)})"
