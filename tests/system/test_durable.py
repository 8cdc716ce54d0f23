"""No 201 precedes its own fsync: seen from between the control plane and the kernel.

A room that was answered has then been written to the disk before the answer left, whatever dies next.
"""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from innkeeper.testing.live import ADMIN_TOKEN, LiveServer, live_server
from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import Bridge

SOURCE = Path(__file__).resolve().parent.parent / "live/order.c"
CALLERS = 32
ROOMS = 320


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "order.log"


@pytest.fixture
def watched(tmp_path: Path, journal: Path) -> Iterator[LiveServer]:
    """A control plane whose writes and syncs are noted in their order."""
    library = tmp_path / "order.so"
    flags = ["-std=c11", "-O2", "-shared", "-fPIC", "-Wall", "-Werror"]
    command = ["gcc", *flags, "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    settings = {"LD_PRELOAD": str(library), "ORDER_LOG": str(journal)}
    with live_server("process", tmp_path, settings) as server:
        yield server


async def create_rooms(server: LiveServer, app_id: str) -> list[str]:
    names = [f"durable-{number:08d}" for number in range(ROOMS)]
    left = iter(names)
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, timeout=30, trust_env=False
    ) as http:

        async def caller() -> None:
            for name in left:
                path = f"/rooms/v2/{app_id}/create?roomId={name}"
                answer = await http.post(path, json={"region": "Tokyo"})
                assert answer.status_code == 201, answer.text

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return names


def durable_when_answered(lines: list[str]) -> dict[str, bool]:
    """For each answered room, whether a file that it was written to was synced in between."""
    written: dict[str, set[str]] = {}  # room -> files it was written to, not yet covered by a sync
    covered: dict[str, set[str]] = {}  # file -> rooms that the sync under way covers
    durable: set[str] = set()
    answered: dict[str, bool] = {}
    for line in lines:
        word, *rest = line.split()
        if word == "wrote":
            written.setdefault(rest[1], set()).add(rest[0])
        elif word == "syncing":
            covered[rest[0]] = {room for room, files in written.items() if rest[0] in files}
        elif word == "synced":
            durable |= covered.pop(rest[0], set())
        elif word == "answered":
            answered.setdefault(rest[0], rest[0] in durable)
    return answered


def test_the_reader_of_the_journal_tells_right_from_wrong() -> None:
    right = ["wrote 7 a", "syncing 7", "synced 7", "answered a"]
    assert durable_when_answered(right) == {"a": True}
    for wrong in (
        ["wrote 7 a", "answered a", "syncing 7", "synced 7"],
        ["wrote 7 a", "syncing 7", "answered a", "synced 7"],
        ["syncing 7", "wrote 7 a", "synced 7", "answered a"],
        ["wrote 7 a", "syncing 8", "synced 8", "answered a"],
    ):
        assert durable_when_answered(wrong) == {"a": False}


def test_no_201_precedes_its_own_fsync(
    watched: LiveServer, journal: Path, bridge: Bridge, game: bytes
) -> None:
    sdk = bridge.client(serverURL=watched.url, hathoraDevToken=ADMIN_TOKEN)
    studio = LiveStudio(sdk, watched)
    app_id = studio.app()
    studio.deploy(app_id, studio.build(game)["buildId"], roomsPerProcess=1000)
    names = asyncio.run(create_rooms(watched, app_id))
    answered = durable_when_answered(journal.read_text().splitlines())
    assert set(answered) == set(names), "every room was seen on its way out"
    assert all(answered.values()), [room for room, durable in answered.items() if not durable]
    syncs = sum(line.startswith("synced") for line in journal.read_text().splitlines())
    assert syncs < len(names), "many callers share one commit"
