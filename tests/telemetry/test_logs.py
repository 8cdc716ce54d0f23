"""Logs while the runtime holds them, while they grow, and after they were kept."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innkeeper.interfaces import LogSource
from innkeeper.runtime.zygote import bound_log
from innkeeper.telemetry.logs import ProcessLogs

DROPPED = b"[innkeeper] older output was dropped here\n"
KIB = 1024


class Shelf:
    """Logs over one file that the test writes. A reader that waits lets the test go on: no time passes."""

    def __init__(self, place: Path, format_: str = "raw", cap_bytes: int = 1 << 20) -> None:
        self.path = place / "held.log"
        self.source: LogSource | None = LogSource(self.path, format_)
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.waits: list[float] = []
        self.waiting = asyncio.Event()
        self.logs = ProcessLogs(
            place / "kept",
            self.resolve,
            cap_bytes=cap_bytes,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    async def resolve(self, process_id: str) -> LogSource | None:
        return self.source

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.waiting.set()
        await asyncio.sleep(0)

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    async def read(self, tail: int | None = None, follow: bool = False) -> bytes:
        return b"".join([piece async for piece in self.logs.stream("p", tail, follow)])

    async def keep(self) -> None:
        await self.logs.keep("p", self.source)
        self.source = None
        self.path.unlink(missing_ok=True)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def numbered(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % n for n in range(first, last))


@pytest.mark.parametrize("kept", [False, True])
async def test_tail_and_whole(shelf: Shelf, kept: bool) -> None:
    shelf.write(numbered(0, 50_000))
    if kept:
        await shelf.keep()
    assert await shelf.read() == numbered(0, 50_000)
    assert await shelf.read(1) == b"line 49999\n"
    assert await shelf.read(5000) == numbered(45_000, 50_000)
    assert await shelf.read(60_000) == numbered(0, 50_000)


async def test_every_piece_is_whole_lines(shelf: Shelf) -> None:
    shelf.write(numbered(0, 100_000))
    async for piece in shelf.logs.stream("p", None, False):
        assert piece.endswith(b"\n")


async def test_an_unended_last_line_is_shown(shelf: Shelf) -> None:
    shelf.write(b"a\nb\nprompt> ")
    assert await shelf.read(2) == b"b\nprompt> \n"
    assert await shelf.read() == b"a\nb\nprompt> \n"


async def test_nothing_was_ever_there(shelf: Shelf) -> None:
    assert await shelf.read(10) == b""
    shelf.source = None
    assert await shelf.read(10) == b""
    await shelf.logs.keep("p", None)
    assert await shelf.read(10) == b""


@pytest.mark.parametrize("format_", ["k8s-file", "json-file"])
async def test_the_tail_counts_lines_not_records(tmp_path: Path, format_: str) -> None:
    """Engines cut long lines into records: the tail goes back over as many as it takes."""
    shelf = Shelf(tmp_path, format_)
    for n in range(5):
        for part in range(30):
            end = part == 29
            text = f"{n}-{part};"
            if format_ == "k8s-file":
                shelf.write(f"2026-11-24T11:35:16Z stdout {'F' if end else 'P'} {text}\n".encode())
            else:
                record = {"log": text + ("\n" if end else ""), "stream": "stdout", "time": "t"}
                shelf.write(json.dumps(record).encode() + b"\n")
    lines = ["".join(f"{n}-{part};" for part in range(30)) + "\n" for n in range(5)]
    assert (await shelf.read(2)).decode() == "".join(lines[3:])
    assert (await shelf.read(9)).decode() == "".join(lines)
    await shelf.keep()
    assert (await shelf.read()).decode() == "".join(lines)


class Reader:
    """Follows in the background."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self.got = b""
        self._stream = stream
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for piece in self._stream:
            self.got += piece

    async def until(self, expected: bytes) -> None:
        async with asyncio.timeout(10):
            while self.got != expected:
                assert not self.task.done()
                await asyncio.sleep(0)


async def test_follow_goes_on_until_the_log_was_kept(shelf: Shelf) -> None:
    shelf.write(numbered(0, 10))
    reader = Reader(shelf.logs.stream("p", 3, True))
    await reader.until(numbered(7, 10))
    shelf.write(b"line 10\nhal")
    await reader.until(numbered(7, 11))
    shelf.write(b"f\nlast")
    await reader.until(numbered(7, 11) + b"half\n")
    await shelf.keep()
    async with asyncio.timeout(10):
        await reader.task
    assert reader.got == numbered(7, 11) + b"half\nlast\n"


async def test_follow_waits_longer_while_nothing_comes_but_never_long(shelf: Shelf) -> None:
    shelf.write(b"a\n")
    reader = Reader(shelf.logs.stream("p", None, True))
    async with asyncio.timeout(10):
        while len(shelf.waits) < 10:
            await asyncio.sleep(0)
    assert shelf.waits[0] <= 0.1
    assert max(shelf.waits) == 0.5
    await shelf.keep()
    await reader.task


async def test_follow_begins_before_there_is_a_log(shelf: Shelf) -> None:
    source, shelf.source = shelf.source, None
    reader = Reader(shelf.logs.stream("p", 10, True))
    await shelf.waiting.wait()
    shelf.source = source
    shelf.write(b"first\n")
    await reader.until(b"first\n")
    await shelf.keep()
    await reader.task


async def test_follow_of_a_process_that_never_wrote_ends_with_it(shelf: Shelf) -> None:
    shelf.source = None
    reader = Reader(shelf.logs.stream("p", 10, True))
    await shelf.waiting.wait()
    await shelf.logs.keep("p", None)
    async with asyncio.timeout(10):
        await reader.task
    assert reader.got == b""


async def test_follow_ends_where_another_server_kept_the_log(shelf: Shelf, tmp_path: Path) -> None:
    there = ProcessLogs(tmp_path / "kept", shelf.resolve, clock=lambda: shelf.now)
    shelf.write(b"a\n")
    early = Reader(shelf.logs.stream("p", None, True))
    await early.until(b"a\n")
    shelf.write(b"b\n")
    await there.keep("p", shelf.source)
    shelf.path.unlink()
    async with asyncio.timeout(10):
        await early.task
    assert early.got == b"a\nb\n"
    # It looked for the log in the runtime while that was being moved.
    shelf.source = None
    late = shelf.logs._follow("p", 1)
    assert b"".join([piece async for piece in late]) == b"b\n"


async def test_a_reader_that_leaves_closes_the_file(shelf: Shelf) -> None:
    shelf.write(b"a\n")

    def held() -> int:
        targets = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        return sum(os.path.realpath(t) == str(shelf.path) for t in targets)

    reader = Reader(shelf.logs.stream("p", None, True))
    await reader.until(b"a\n")
    assert held() == 1
    reader.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader.task
    assert held() == 0


@pytest.mark.parametrize("how", ["replaced", "emptied"])
async def test_follow_over_a_rotation(shelf: Shelf, how: str) -> None:
    shelf.write(b"old\n")
    reader = Reader(shelf.logs.stream("p", None, True))
    await reader.until(b"old\n")
    if how == "replaced":
        fresh = shelf.path.with_suffix(".new")
        fresh.write_bytes(b"a\n")
        fresh.rename(shelf.path)
    else:
        os.truncate(shelf.path, 0)
        shelf.write(b"a\n")
    await reader.until(b"old\na\n")
    await shelf.keep()
    await reader.task


async def test_the_oldest_part_was_given_back(tmp_path: Path) -> None:
    """The runtime punches a hole; readers see a marker, then whole lines."""
    shelf = Shelf(tmp_path, cap_bytes=256 * KIB)
    lines = [b"%-98d.\n" % n for n in range(10_000)]
    shelf.write(b"".join(lines))
    bound_log(str(shelf.path), 128 * KIB)
    assert shelf.path.stat().st_size == 1_000_000
    assert shelf.path.stat().st_blocks * 512 <= 136 * KIB
    found = await shelf.read()
    assert found.startswith(DROPPED)
    whole = found.removeprefix(DROPPED)
    assert len(whole) > 120 * KIB
    assert b"".join(lines).endswith(b"\n" + whole)
    assert await shelf.read(2) == b"".join(lines[-2:])
    assert (await shelf.read(5000)) == found
    reader = Reader(shelf.logs.stream("p", None, True))
    await reader.until(found)
    await shelf.keep()
    await reader.task
    assert await shelf.read() == found


async def test_what_is_above_the_bound_is_not_shown(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, cap_bytes=1000)
    shelf.write(numbered(0, 1000))
    found = await shelf.read()
    assert found.startswith(DROPPED)
    assert len(found) <= 1000 + len(DROPPED)
    assert found.endswith(b"line 999\n")


async def test_keeping_is_safe_to_repeat(shelf: Shelf, tmp_path: Path) -> None:
    shelf.write(b"a\n")
    await shelf.logs.keep("p", shelf.source)
    shelf.write(b"b\n")
    await shelf.keep()
    await shelf.logs.keep("p", None)
    await shelf.logs.keep("p", LogSource(tmp_path / "gone", "raw"))
    assert await shelf.read() == b"a\nb\n"
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["p.log.zst"]
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700


async def test_prune_by_the_usual_retention_or_their_own(shelf: Shelf) -> None:
    await shelf.logs.keep("old", None)
    await shelf.logs.keep("old but wanted", None)
    shelf.now += timedelta(hours=50)
    await shelf.logs.keep("new", None)
    await shelf.logs.keep("new but unwanted", None)
    shelf.now += timedelta(hours=23)
    await shelf.logs.prune(
        {
            "old but wanted": shelf.now - timedelta(hours=100),
            "new but unwanted": shelf.now - timedelta(hours=1),
        }
    )
    assert sorted(await shelf.logs.kept_ids()) == ["new", "old but wanted"]
    await shelf.logs.prune()
    assert await shelf.logs.kept_ids() == ["new"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.integers(0, 3000), max_size=60),
    ended=st.booleans(),
    count=st.integers(1, 70),
)
async def test_the_tail_is_the_end_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, lines: list[int], ended: bool, count: int
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("tail"))
    data = b"".join(b"x" * length + b"\n" for length in lines)
    shelf.write(data if ended else data[:-1])
    whole = (await shelf.read()).splitlines(keepends=True)
    assert await shelf.read(count) == b"".join(whole[-count:])
    await shelf.keep()
    assert await shelf.read(count) == b"".join(whole[-count:])
