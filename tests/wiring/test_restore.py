"""Restore: everything checked before anything is touched; one rename decides; hostile files are refused."""

import itertools
import json
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from innkeeper.core.errors import StateConflict, Unavailable
from innkeeper.wiring import restored
from innkeeper.wiring.last_run import LastRun, last_run
from tests.wiring.conftest import TOKEN, Installation, put_back


def dump(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [line for line in connection.iterdump() if "installation.restored" not in line]


def journal(data_dir: Path) -> list[int]:
    """The ids of all events, in order."""
    with closing(sqlite3.connect(data_dir / "innkeeper.db")) as connection:
        return [seq for (seq,) in connection.execute("SELECT seq FROM events ORDER BY seq")]


def contents(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Everything below ``folder``: mode, and content or target."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        # The shared memory of an open database is not state.
        if path.name.endswith("-shm") or path.is_socket():
            continue
        mode = path.lstat().st_mode
        if path.is_symlink():
            content: bytes | str = str(path.readlink())
        else:
            content = path.read_bytes() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (mode, content)
    return found


# ---------------------------------------------------------------- what comes back


async def test_everything_comes_back_elsewhere(
    installation: Installation, backup: Path, tmp_path: Path
) -> None:
    new, old = tmp_path / "new", installation.data_dir
    put_back(backup, new)
    assert dump(new / "innkeeper.db") == dump(old / "innkeeper.db")
    # But for the journal, which goes on under ids that nobody has been told yet.
    assert journal(new)[:-1] == journal(old)
    assert journal(new)[-1] > journal(old)[-1] + 10**6
    assert (new / "admin-token").read_text().strip() == TOKEN
    assert stat.S_IMODE((new / "admin-token").stat().st_mode) == 0o600
    assert stat.S_IMODE((new / "innkeeper.db").stat().st_mode) == 0o600
    for kept in ("logs/a-process.log.zst", f"builds/{installation.build_key}.log"):
        assert (new / kept).read_bytes() == (old / kept).read_bytes()
    assert last_run(new) == LastRun("process", f"sqlite:///{new / 'innkeeper.db'}", None)
    image = new / "processes" / "images" / installation.build_key
    assert (image / "rootfs/start").readlink() == Path("bin/game")
    assert (image / "rootfs/all/game").stat().st_mode & 0o777 == 0o755
    assert (image / "rootfs/bin/empty").is_dir()
    assert json.loads((image / "image.json").read_text())["entrypoint"] == ["/start"]
    assert not {restored.STAGING, restored.READY, restored.PLACING} & {
        p.name for p in new.iterdir()
    }


async def test_what_was_there_goes_aside_and_what_runs_stays(
    installation: Installation, backup: Path
) -> None:
    data_dir = installation.data_dir
    await installation.room()
    await installation.studio.store.close()
    later = dump(data_dir / "innkeeper.db")
    game = data_dir / "processes" / "processes" / "a-game"
    game.mkdir(parents=True)
    with pytest.raises(StateConflict, match=r"is not empty: .*--force"):
        put_back(backup, data_dir)
    said = put_back(backup, data_dir, force=True)
    (aside,) = data_dir.glob("before-restore-*")
    assert f"what was there before is in {aside}" in said
    assert dump(aside / "innkeeper.db") == later
    assert len(dump(data_dir / "innkeeper.db")) < len(later)
    assert (aside / "admin-token").exists()
    assert game.is_dir()
    # And again: a second one has a place of its own.
    put_back(backup, data_dir, force=True)
    assert len(list(data_dir.glob("before-restore-*"))) == 2


async def test_an_older_log_of_the_database_is_not_taken_for_the_new_ones(
    installation: Installation, backup: Path
) -> None:
    # The store is still open: its write-ahead log is there, as after kill -9.
    data_dir = installation.data_dir
    await installation.room()
    assert (data_dir / "innkeeper.db-wal").stat().st_size
    put_back(backup, data_dir, force=True)
    assert not (data_dir / "innkeeper.db-wal").exists()
    with closing(sqlite3.connect(data_dir / "innkeeper.db")) as ours:
        assert ours.execute("SELECT count(*) FROM rooms").fetchone() == (2,)
        assert ours.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_damaged_database_may_be_replaced(installation: Installation, backup: Path) -> None:
    await installation.studio.store.close()
    (installation.data_dir / "innkeeper.db").write_bytes(b"rubbish" * 1000)
    said = put_back(backup, installation.data_dir, force=True)
    assert any("cannot be read" in line for line in said)


# ---------------------------------------------------------------- whole or not at all


class Crash(BaseException):
    """The end of a process, between any two moves."""


def crashing(patch: pytest.MonkeyPatch, crash_at: int) -> None:
    """Let the move of this number, from 1 on, be the last thing that is not done."""
    steps = itertools.count(1)

    def counted(move: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def moved(path: Path, target: Path) -> Path:
            if next(steps) == crash_at:
                raise Crash
            return move(path, target)

        return moved

    patch.setattr(Path, "rename", counted(Path.rename))
    patch.setattr(Path, "replace", counted(Path.replace))


def state(data_dir: Path) -> dict[str, tuple[int, bytes | str]]:
    """All but what was set aside, and the path that names the directory itself."""
    found = contents(data_dir)
    mode, _ = found["innkeeper.db"]
    found["innkeeper.db"] = (mode, "\n".join(dump(data_dir / "innkeeper.db")))
    return {n: c for n, c in found.items() if not n.startswith(("before-", "last-run.json"))}


async def test_a_crash_at_any_step_is_carried_to_the_end(
    installation: Installation, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await installation.studio.store.close()
    put_back(backup, tmp_path / "whole")
    wanted = state(tmp_path / "whole")
    outcomes = []
    for crash_at in itertools.count(1):
        data_dir = tmp_path / f"crash-{crash_at}"
        put_back(backup, data_dir)
        (data_dir / "uploads").mkdir()
        (data_dir / "admin-token").write_text("an-admin-token-of-later")
        before = contents(data_dir)
        with monkeypatch.context() as patch:
            crashing(patch, crash_at)
            try:
                put_back(backup, data_dir, force=True)
            except Crash:
                pass
            else:
                break
        decided = any((data_dir / n).exists() for n in (restored.READY, restored.PLACING))
        outcomes.append(decided)
        if not decided:
            assert contents(data_dir) == before, "nothing was touched"
            continue
        assert restored.finish(data_dir)
        assert not restored.finish(data_dir)
        assert state(data_dir) == wanted
        (aside,) = data_dir.glob("before-restore-*")
        old = {n: c for n, c in before.items() if not n.startswith("processes")}
        assert contents(aside) == old
    assert outcomes == sorted(outcomes)
    assert outcomes.count(True) > 8, "every move was a place to crash at"


async def test_ctrl_c_while_it_is_made_ready_touches_nothing(
    installation: Installation, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await installation.studio.store.close()
    before = contents(installation.data_dir)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("innkeeper.runtime.image_tree.restore", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put_back(backup, installation.data_dir, force=True)
    assert contents(installation.data_dir) == before


async def test_a_full_disk_is_told_before_and_while(
    installation: Installation, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"
    monkeypatch.setattr("innkeeper.wiring.restored.RESERVE_BYTES", 2**60)
    with pytest.raises(Unavailable, match=r"disk is full: the backup needs \d"):
        put_back(backup, new)
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("innkeeper.wiring.backup_file.BackupReader.extract", full)
    with pytest.raises(Unavailable, match=r"nothing was restored to .*: No space left on device"):
        put_back(backup, new)
    assert list(new.iterdir()) == []


# ---------------------------------------------------------------- what is refused


async def test_another_installation_is_not_replaced(
    installation: Installation, backup: Path
) -> None:
    database = installation.data_dir / "innkeeper.db"
    await installation.studio.store.close()
    with closing(sqlite3.connect(database)) as ours, ours:
        ours.execute("UPDATE installation SET installation_id = 'another'")
    before = contents(installation.data_dir)
    with pytest.raises(StateConflict, match="another installation than the backup's"):
        put_back(backup, installation.data_dir, force=True)
    assert contents(installation.data_dir) == before


async def test_another_runtime_is_not_replaced(installation: Installation, backup: Path) -> None:
    LastRun("container", "sqlite:////x", None).keep(installation.data_dir)
    with pytest.raises(StateConflict, match="runs games in the container runtime"):
        put_back(backup, installation.data_dir, force=True)
