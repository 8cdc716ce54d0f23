"""Uploads on disk: exact, bounded, and nothing left behind (behaviour.md 2.4)."""

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.errors import Invalid, StateConflict, TimedOut, Unavailable
from innkeeper.telemetry import uploads
from innkeeper.telemetry.uploads import UploadsOnDisk

KEY = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"


async def sent(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def kept(tmp_path: Path) -> UploadsOnDisk:
    return UploadsOnDisk(tmp_path / "uploads")


async def test_parts_become_the_archive(kept: UploadsOnDisk, tmp_path: Path) -> None:
    first = await kept.put_part(KEY, 1, 5, sent(b"ab", b"cde"))
    second = await kept.put_part(KEY, 2, 2, sent(b"fg"))
    assert first == f'"{hashlib.md5(b"abcde").hexdigest()}"'
    assert kept.archive(KEY) is None
    digest = await kept.assemble(KEY, [(1, first), (2, second)], 7)
    assert digest == hashlib.sha256(b"abcdefg").hexdigest()
    archive = kept.archive(KEY)
    assert archive is not None
    assert archive.read_bytes() == b"abcdefg"
    assert len(left(tmp_path)) == 1
    assert await kept.assemble(KEY, [(1, first), (2, second)], 7) == digest
    with pytest.raises(StateConflict):
        await kept.put_part(KEY, 1, 5, sent(b"abcde"))
    await kept.discard(KEY)
    await kept.discard(KEY)
    assert left(tmp_path) == []
    assert kept.archive(KEY) is None


async def test_the_last_upload_of_a_part_wins(kept: UploadsOnDisk, tmp_path: Path) -> None:
    old = await kept.put_part(KEY, 1, 3, sent(b"old"))
    new = await kept.put_part(KEY, 1, 3, sent(b"new"))
    assert len(left(tmp_path)) == 1
    with pytest.raises(Invalid, match="another ETag"):
        await kept.assemble(KEY, [(1, old)], 3)
    assert await kept.assemble(KEY, [(1, new)], 3) == hashlib.sha256(b"new").hexdigest()


@pytest.mark.parametrize("pieces", [(), (b"abc",), (b"abcd", b"ef"), (b"x" * 10_000_000,)])
async def test_a_part_of_another_size_leaves_nothing(
    kept: UploadsOnDisk, tmp_path: Path, pieces: tuple[bytes, ...]
) -> None:
    with pytest.raises(Invalid, match="exactly 5 bytes"):
        await kept.put_part(KEY, 1, 5, sent(*pieces))
    assert left(tmp_path) == []


async def test_a_refused_part_does_not_replace_a_good_one(kept: UploadsOnDisk) -> None:
    good = await kept.put_part(KEY, 1, 3, sent(b"abc"))
    with pytest.raises(Invalid):
        await kept.put_part(KEY, 1, 3, sent(b"ab"))
    await kept.assemble(KEY, [(1, good)], 3)


async def test_a_list_that_does_not_fit_makes_no_archive(
    kept: UploadsOnDisk, tmp_path: Path
) -> None:
    one = await kept.put_part(KEY, 1, 3, sent(b"abc"))
    two = await kept.put_part(KEY, 2, 3, sent(b"def"))
    for parts, size in (
        ([], 6),
        ([(1, one)], 6),
        ([(2, two), (1, one)], 6),
        ([(1, one), (1, one)], 6),
        ([(1, one), (2, one)], 6),
        ([(1, one), (2, two), (3, two)], 6),
        ([(1, one), (2, two)], 7),
        ([(1, one), (2, "é")], 6),
    ):
        with pytest.raises(Invalid):
            await kept.assemble(KEY, parts, size)
        assert kept.archive(KEY) is None
    assert len(left(tmp_path)) == 2
    await kept.assemble(KEY, [(1, one), (2, two.strip('"').upper())], 6)


@pytest.mark.parametrize("key", ["", "..", "a/b", "../" + KEY, KEY + "\n", KEY.upper() + "X"])
async def test_only_our_own_keys_name_a_directory(kept: UploadsOnDisk, key: str) -> None:
    with pytest.raises(Invalid):
        await kept.put_part(key, 1, 1, sent(b"a"))
    with pytest.raises(Invalid):
        await kept.discard(key)


async def test_a_client_that_stalls_or_leaves_leaves_nothing(tmp_path: Path) -> None:
    kept = UploadsOnDisk(tmp_path / "uploads", part_time_min_s=0.01)

    async def stalls() -> AsyncIterator[bytes]:
        yield b"a" * uploads.BLOCK_BYTES
        await asyncio.Event().wait()

    async def leaves() -> AsyncIterator[bytes]:
        yield b"a" * uploads.BLOCK_BYTES
        raise ConnectionResetError

    with pytest.raises(TimedOut):
        await kept.put_part(KEY, 1, 3, stalls_small())
    with pytest.raises(ConnectionResetError):
        await UploadsOnDisk(tmp_path / "uploads").put_part(KEY, 1, 10**9, leaves())
    slow = asyncio.create_task(
        UploadsOnDisk(tmp_path / "uploads").put_part(KEY, 1, 10**9, stalls())
    )
    while not left(tmp_path):
        await asyncio.sleep(0)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert left(tmp_path) == []


async def stalls_small() -> AsyncIterator[bytes]:
    yield b"a"
    await asyncio.Event().wait()


async def test_a_full_disk_is_said_and_leaves_nothing(
    kept: UploadsOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await kept.put_part(KEY, 1, 3, sent(b"abc"))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(uploads, "_write", full)
    with pytest.raises(Unavailable, match="disk is full"):
        await kept.put_part(KEY, 2, 3, sent(b"def"))
    with pytest.raises(Unavailable, match="disk is full"):
        await kept.assemble(KEY, [(1, one)], 3)
    assert [name.split("-")[-2] for name in left(tmp_path)] == ["1"]
    monkeypatch.undo()
    usage = shutil.disk_usage(tmp_path)._replace(free=uploads.RESERVE_BYTES + 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(Unavailable, match="3 bytes are needed"):
        await kept.put_part(KEY, 2, 3, sent(b"def"))
    with pytest.raises(Unavailable, match="3 bytes are needed"):
        await kept.assemble(KEY, [(1, one)], 3)
    assert len(left(tmp_path)) == 1


async def test_an_upload_that_is_discarded_meanwhile_ends_and_stays_away(
    kept: UploadsOnDisk, tmp_path: Path
) -> None:
    async def discards() -> AsyncIterator[bytes]:
        yield b"a" * uploads.BLOCK_BYTES
        await kept.discard(KEY)

    with pytest.raises(StateConflict):
        await kept.put_part(KEY, 1, uploads.BLOCK_BYTES, discards())
    assert left(tmp_path) == []


async def test_a_sweep_keeps_what_is_wanted_and_what_is_under_way(
    kept: UploadsOnDisk, tmp_path: Path
) -> None:
    await kept.put_part(KEY, 1, 1, sent(b"a"))
    await kept.put_part(OTHER, 1, 1, sent(b"b"))
    crashed = tmp_path / "uploads" / KEY / "incoming-2-0123456789abcdef"
    crashed.write_bytes(b"half")
    strange = tmp_path / "uploads" / "lost+found"
    strange.mkdir()

    async def sweeps() -> AsyncIterator[bytes]:
        yield b"c" * uploads.BLOCK_BYTES
        await kept.sweep({KEY})

    await kept.put_part(KEY, 2, uploads.BLOCK_BYTES, sweeps())
    assert [name.split("/")[1] for name in left(tmp_path)] == [KEY, KEY]
    assert not crashed.exists()
    assert strange.exists()


async def test_servers_that_share_the_directory_leave_each_others_files_alone(
    kept: UploadsOnDisk, tmp_path: Path
) -> None:
    there = UploadsOnDisk(tmp_path / "uploads")

    async def swept() -> AsyncIterator[bytes]:
        yield b"c" * uploads.BLOCK_BYTES
        await there.sweep({KEY})

    size = uploads.BLOCK_BYTES
    first = await kept.put_part(KEY, 1, size, swept())
    second = await there.put_part(KEY, 2, 1, sent(b"d"))
    parts = [(1, first), (2, second)]
    # The client asks again, and comes to another server while the first still copies.
    answers = await asyncio.gather(
        *(server.assemble(KEY, parts, size + 1) for server in (kept, there, kept, there))
    )
    assert set(answers) == {hashlib.sha256(b"c" * size + b"d").hexdigest()}
    assert len(left(tmp_path)) == 1
    with pytest.raises(StateConflict):
        await there.put_part(KEY, 1, 1, sent(b"a"))
    await asyncio.gather(kept.discard(KEY), there.discard(KEY))
    assert left(tmp_path) == []
