"""The process runtime passes the suite that every driver passes."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from innkeeper.interfaces import Runtime
from innkeeper.runtime import proc_table
from innkeeper.runtime.process import ProcessRuntime
from innkeeper.runtime.zygote_client import stop_zygote
from innkeeper.testing.host_facts import processes_of
from innkeeper.testing.runtime_suite import RuntimeHarness, RuntimeSuite
from innkeeper.testing.usage_suite import UsageSuite

World = Any


class ProcessHarness(RuntimeHarness):
    """Drivers of one directory. The zygote and its spares are the engine here."""

    image_ref = "probe"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def make(self) -> Runtime:
        return ProcessRuntime(
            self.directory,
            installation_id="suite",
            api_url="http://127.0.0.1:9",
            clock=lambda: datetime.now(UTC),
        )

    async def leftovers(self) -> list[str]:
        files = [
            f"{name}/{entry}"
            for name in ("processes", "exits", "trash")
            if (self.directory / name).is_dir()
            for entry in os.listdir(self.directory / name)
        ]
        root = str(self.directory / "images" / "probe" / "rootfs")
        return files + [f"pid {pid}" for pid in proc_table.pids() if _root(pid) == root]


def _root(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/root")
    except OSError:
        return None


@pytest.fixture
async def harness(world: World) -> AsyncIterator[RuntimeHarness]:
    made = ProcessHarness(world.directory)
    try:
        yield made
        await made.close()
    finally:
        stop_zygote(world.directory)
    assert processes_of(world.directory) == {}


class TestProcessRuntime(RuntimeSuite, UsageSuite):
    """Every test of the suite."""
