"""Harness of the container driver: an installation of its own in an engine, and images made on the spot."""

import asyncio
import io
import ipaddress
import json
import re
import subprocess
import tarfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path

from innkeeper.interfaces import Runtime
from innkeeper.runtime.container import ContainerRuntime
from innkeeper.runtime.container_spec import LABEL_INSTALLATION, ContainerSettings
from innkeeper.runtime.engine import Engine
from innkeeper.testing.runtime_harness import RuntimeHarness

PROBE_IMAGE = "localhost/innkeeper-tests/probe:latest"
PROBE_DOCKERFILE = b'FROM scratch\nCOPY probe /probe\nENTRYPOINT ["/probe"]\n'


class ContainerHarness(RuntimeHarness):
    """One installation; the engine has :data:`PROBE_IMAGE`."""

    image_ref = PROBE_IMAGE

    def __init__(self, socket_path: Path, settings: ContainerSettings | None = None) -> None:
        super().__init__()
        self.socket_path = socket_path
        self.settings = settings or ContainerSettings(installation=str(uuid.uuid4()), api_port=9)

    def make(self) -> Runtime:
        """A driver with an engine client of its own."""
        return ContainerRuntime(Engine(self.socket_path), self.settings)

    async def clean(self) -> None:
        """Close the drivers and remove all of the installation, its network too."""
        await self.close()
        cleaner = ContainerRuntime(Engine(self.socket_path), self.settings)
        await cleaner.open()
        await cleaner.remove_all()
        await cleaner.close()

    async def leftovers(self) -> list[str]:
        """Containers, and packet rules for our bridge's addresses."""
        engine = Engine(self.socket_path)
        await engine.open()
        label = f"{LABEL_INSTALLATION}={self.settings.installation}"
        answer = await engine.call(
            "GET",
            "/containers/json",
            params={"all": True, "filters": json.dumps({"label": [label]})},
        )
        subnet = await self._subnet(engine)
        await engine.close()
        found = [str(container["Names"]) for container in answer.data]
        if subnet is None:
            return found
        rules = await asyncio.to_thread(_packet_rules)
        # A rule to one of our addresses, not those of the network as a whole.
        ours = ipaddress.ip_network(subnet)
        for line in rules.splitlines():
            to = re.search(r"--to-destination ([0-9.]+)", line)
            if to and ipaddress.ip_address(to[1]) in ours:
                found.append(line)
        return found

    async def _subnet(self, engine: Engine) -> str | None:
        answer = await engine.call("GET", f"/networks/{self.settings.prefix}")
        return str(answer.data["IPAM"]["Config"][0]["Subnet"]) if answer.ok else None


def _packet_rules() -> str:
    saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True)
    return saved.stdout


def tar_of(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """A tar archive of executable files; ``mode`` as :func:`tarfile.open` has it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


async def build_image(engine: Engine, ref: str, files: Mapping[str, bytes], **params: str) -> None:
    """Build an image straight with the engine. ``params`` are the build call's."""

    async def content() -> AsyncIterator[bytes]:
        yield tar_of(files)

    lines = engine.lines(
        "POST",
        "/build",
        params={"t": ref, **params},
        headers={"Content-Type": "application/x-tar"},
        content=content(),
        read_timeout_s=60.0,
    )
    async with aclosing(lines) as answer:
        async for line in answer:
            assert not line.get("error"), line


async def build_probe(engine: Engine, program: bytes) -> None:
    """Make :data:`PROBE_IMAGE` from the compiled probe."""
    files = {"Dockerfile": PROBE_DOCKERFILE, "probe": program}
    await build_image(engine, PROBE_IMAGE, files)
