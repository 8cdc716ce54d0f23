"""Backup: one file, one moment, whole or not there; from a store that is in use."""

import asyncio
import fcntl
import hashlib
import json
import os
import re
import resource
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from innkeeper import wiring
from innkeeper.core.errors import RuntimeAway, StateConflict
from innkeeper.store import copies
from innkeeper.store.copies import copy_sqlite
from innkeeper.store.migrate import revisions
from innkeeper.wiring import restored
from innkeeper.wiring.backup import Wanted
from innkeeper.wiring.last_run import LastRun
from tests.wiring.conftest import TOKEN, Installation


async def taken(installation: Installation, name: str = "b.tar", **wanted: bool) -> Path:
    """A backup of it, beside its data directory."""
    target = installation.data_dir.parent / name
    await wiring.backup(installation.data_dir, target, Wanted(**wanted), lambda line: None)
    return target


def leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path.name != "data")


async def test_any_tar_and_sha256sum_can_read_it(installation: Installation) -> None:
    target = await taken(installation)
    with tarfile.open(target) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    assert list(files) == [
        "innkeeper.json",
        "database",
        "admin-token",
        f"build-logs/{installation.build_key}.log",
        "logs/a-process.log.zst",
        f"builds/{installation.build_key}.tar",
        "SHA256SUMS",
    ]
    sums = files.pop("SHA256SUMS").decode()
    assert sums == "".join(f"{hashlib.sha256(c).hexdigest()}  {n}\n" for n, c in files.items())
    about = json.loads(files["innkeeper.json"])
    assert (about["store"], about["runtime"]) == ("sqlite", "process")
    assert about["schema_revision"] == revisions()[-1]
    assert files["admin-token"].decode().strip() == TOKEN
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert leftovers(target) == ["b.tar"]


async def test_builds_and_logs_can_be_left_out(installation: Installation) -> None:
    target = await taken(installation, builds=False, logs=False)
    with tarfile.open(target) as tar:
        names = {name.split("/")[0] for name in tar.getnames()}
    assert names == {"innkeeper.json", "database", "admin-token", "build-logs", "SHA256SUMS"}


async def test_the_copy_is_one_moment_while_rooms_are_created(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_PAGES_AT_ONCE", 10)
    loop, made = asyncio.get_running_loop(), []

    def one_more_room(_done: int, _total: int) -> None:
        made.append(asyncio.run_coroutine_threadsafe(installation.room(), loop).result(10))

    copy = installation.data_dir.parent / "copy"
    await asyncio.to_thread(
        copy_sqlite, installation.data_dir / "innkeeper.db", copy, one_more_room
    )
    assert len(made) > 5, "rooms were created between the steps of the copy"
    with closing(sqlite3.connect(copy)) as ours:
        rooms = ours.execute("SELECT process_id FROM rooms").fetchall()
        assert len(rooms) == 2, "those there were when it began, and no other"
        held = ours.execute("SELECT process_id FROM processes WHERE rooms_allocated = 1").fetchall()
        assert sorted(rooms) == sorted(held)
        promised = ours.execute("SELECT memory_mb_promised FROM machine").fetchone()
        assert promised == (2 * 512,)
    assert not list(copy.parent.glob("copy-*"))


async def test_an_earlier_backup_is_replaced_and_nothing_else_is(
    installation: Installation,
) -> None:
    target = await taken(installation)
    first = target.read_bytes()
    await installation.room()
    assert (await taken(installation)).read_bytes() != first
    other = target.with_name("letter.txt")
    other.write_text("Dear all")
    with pytest.raises(StateConflict, match=r"letter\.txt is there already and no backup"):
        await taken(installation, "letter.txt")
    assert other.read_text() == "Dear all"


async def test_two_at_a_time_do_not_mix(installation: Installation) -> None:
    target = installation.data_dir.parent / "b.tar"
    with open(f"{target}.partial", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StateConflict, match="another backup is being written"):
            await taken(installation)
        assert Path(other.name).exists(), "it is the other's"
    await taken(installation)  # one that a crash left is nobody's


async def test_a_build_that_is_gone_is_told(installation: Installation) -> None:
    images = installation.data_dir / "processes" / "images"
    images.rename(images.with_name("elsewhere"))
    said: list[str] = []
    target = installation.data_dir.parent / "b.tar"
    await wiring.backup(installation.data_dir, target, Wanted(), said.append)
    assert "WARNING: 1 builds are not in the runtime any more, nor in the backup" in said


async def test_an_engine_that_is_away_ends_it_with_advice(installation: Installation) -> None:
    url = f"sqlite:///{installation.data_dir / 'innkeeper.db'}"
    LastRun("container", url, "/nowhere.sock").keep(installation.data_dir)
    with pytest.raises(RuntimeAway, match=r"does not answer.*--without-builds"):
        await taken(installation)
    assert leftovers(installation.data_dir) == []
    await taken(installation, builds=False)


async def test_an_unfinished_restore_is_not_backed_up(installation: Installation) -> None:
    (installation.data_dir / restored.PLACING).mkdir()
    with pytest.raises(StateConflict, match="has not come to its end"):
        await taken(installation)


async def test_a_directory_without_an_installation_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateConflict, match="nothing has been served from"):
        await wiring.backup(tmp_path / "none", tmp_path / "b.tar", Wanted(), lambda line: None)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the command


def run(*words: str | Path, fsize: int | None = None) -> "subprocess.CompletedProcess[str]":
    """The command line, with files of at most ``fsize`` bytes: what a full disk looks like to it."""

    def small_files() -> None:
        if fsize is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (fsize, fsize))

    return subprocess.run(
        [sys.executable, "-m", "innkeeper.cli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=small_files,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


async def test_a_full_disk_leaves_the_earlier_backup_and_says_so(
    installation: Installation,
) -> None:
    target = await taken(installation)
    before, database = target.read_bytes(), (installation.data_dir / "innkeeper.db").stat().st_size
    # Full within the copy of the database, within the tar's member of it, and at the last block.
    for fsize in (100_000, database + 2000, len(before) - 1024):
        done = await asyncio.to_thread(
            run, "backup", target, "--data-dir", installation.data_dir, fsize=fsize
        )
        assert done.returncode == 1, done.stdout
        # A full disk is ENOSPC; for EFBIG the database's library knows no better word than "error".
        assert re.search(r"disk (full|error).*free (some )?space", done.stderr), done.stderr
        assert leftovers(target) == ["b.tar"], fsize
        assert target.read_bytes() == before


async def test_the_command_tells_what_it_does(installation: Installation) -> None:
    target = installation.data_dir.parent / "b.tar"
    done = await asyncio.to_thread(run, "backup", target, "--data-dir", installation.data_dir)
    assert done.returncode == 0, done.stderr
    for word in ("database: ", "logs of 1 processes", f"build {installation.build_key}", "b.tar: "):
        assert word in done.stdout


async def test_ctrl_c_leaves_nothing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("innkeeper.runtime.image_tree.pack", interrupted)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(taken(installation))
        except KeyboardInterrupt as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.to_thread(thread.join, 10)
    assert failed
    assert leftovers(installation.data_dir) == []
