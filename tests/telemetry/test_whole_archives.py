"""Archives that come in one piece: bounded, exact, and nothing left behind (behaviour.md 2.2, 2.3)."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from innkeeper.core.errors import Invalid, StateConflict, TimedOut, TooLarge, Unavailable
from innkeeper.interfaces import ReceivedArchive
from innkeeper.telemetry.uploads import UploadsOnDisk

KEY = "11111111-2222-4333-8444-555555555555"
DIGEST = hashlib.sha256(b"abcdef").hexdigest()


async def sent(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


@pytest.fixture
def kept(tmp_path: Path) -> UploadsOnDisk:
    return UploadsOnDisk(tmp_path / "uploads")


async def test_a_whole_archive_is_kept_and_may_come_again(
    kept: UploadsOnDisk, tmp_path: Path
) -> None:
    for _ in range(2):
        assert await kept.put_archive(KEY, 6, sent(b"abc", b"def")) == ReceivedArchive(6, DIGEST)
    archive = kept.archive(KEY)
    assert archive is not None
    assert archive.read_bytes() == b"abcdef"
    assert len(left(tmp_path)) == 1
    # A build that waits for its turn was told the archive's name: no other takes its place.
    with pytest.raises(StateConflict, match="another archive"):
        await kept.put_archive(KEY, 6, sent(b"other"))
    with pytest.raises(StateConflict):
        await kept.put_part(KEY, 1, 3, sent(b"abc"))
    assert kept.archive(KEY) == archive
    await kept.discard(KEY)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("pieces", "error"), [((b"abc", b"defg"), TooLarge), ((), Invalid), ((b"",), Invalid)]
)
async def test_too_much_and_nothing_are_refused(
    kept: UploadsOnDisk, tmp_path: Path, pieces: tuple[bytes, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await kept.put_archive(KEY, 6, sent(*pieces))
    assert left(tmp_path) == []


async def test_a_body_that_breaks_off_leaves_nothing(kept: UploadsOnDisk, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise Invalid("body", "ends in the middle of the form")

    with pytest.raises(Invalid, match="in the middle"):
        await kept.put_archive(KEY, 6, broken())
    assert left(tmp_path) == []


async def test_a_client_that_stalls_is_given_up(tmp_path: Path) -> None:
    kept = UploadsOnDisk(tmp_path / "uploads", part_time_min_s=0.05)

    async def stalling() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.Event().wait()

    with pytest.raises(TimedOut):
        await kept.put_archive(KEY, 6, stalling())
    assert left(tmp_path) == []


async def test_a_disk_without_room_is_told(
    kept: UploadsOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1024))
    with pytest.raises(Unavailable, match="disk is full"):
        await kept.put_archive(KEY, 6, sent(b"abc"))
    assert left(tmp_path) == []


async def test_a_build_that_goes_meanwhile_keeps_no_archive(
    kept: UploadsOnDisk, tmp_path: Path
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"abc"
        await kept.discard(KEY)

    with pytest.raises(StateConflict, match="meanwhile"):
        await kept.put_archive(KEY, 6, slow())
    assert left(tmp_path) == []


@pytest.mark.parametrize("key", ["", "..", "../x", KEY.upper() + "\n", "x" * 36])
async def test_a_key_that_is_not_ours_is_no_path(
    kept: UploadsOnDisk, tmp_path: Path, key: str
) -> None:
    with pytest.raises(Invalid):
        await kept.put_archive(key, 6, sent(b"abc"))
    assert left(tmp_path) == []
