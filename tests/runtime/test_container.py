"""The container driver against a real engine."""

import json
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.interfaces import Runtime
from innkeeper.runtime.container import ContainerRuntime
from innkeeper.runtime.container_spec import LABEL_INSTALLATION, ContainerSettings
from innkeeper.runtime.engine import Engine
from innkeeper.testing.runtime_suite import RuntimeHarness, RuntimeSuite

PROBE = "localhost/innkeeper-tests/probe:latest"

pytestmark = pytest.mark.system


class ContainerHarness(RuntimeHarness):
    """An installation of its own in the shared engine."""

    def __init__(self, socket_path: Path) -> None:
        super().__init__()
        self.socket_path = socket_path
        self.settings = ContainerSettings(installation=str(uuid.uuid4()), api_port=9)
        self.image_ref = PROBE

    def make(self) -> ContainerRuntime:
        return ContainerRuntime(Engine(self.socket_path), self.settings)

    async def leftovers(self) -> list[str]:
        engine = Engine(self.socket_path)
        await engine.open()
        label = f"{LABEL_INSTALLATION}={self.settings.installation}"
        answer = await engine.call(
            "GET",
            "/containers/json",
            params={"all": True, "filters": json.dumps({"label": [label]})},
        )
        await engine.close()
        found = [str(container["Names"]) for container in answer.data]
        rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True)
        bridge = f"ik-{self.settings.installation[:8]}"
        return found + [line for line in rules.stdout.splitlines() if bridge in line]


@pytest.fixture
async def harness(engine_socket: Path) -> AsyncIterator[ContainerHarness]:
    made = ContainerHarness(engine_socket)
    yield made
    await made.close()
    cleaner = made.make()
    await cleaner.open()
    await cleaner.remove_all()
    await cleaner.close()
    assert await made.leftovers() == []


class TestContainerRuntime(RuntimeSuite):
    """The whole suite."""


async def test_conforms_to_the_interface(harness: ContainerHarness) -> None:
    driver: Runtime = await harness.open()
    assert driver.capabilities.name == "container"
