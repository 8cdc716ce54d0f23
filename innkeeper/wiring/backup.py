"""``innkeeper backup``: all that is needed to come back, in one file, while the server may be running.

The database is copied at one moment; builds never change once they are made, so they may come after it.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from innkeeper import __version__
from innkeeper.config.admin_token import token_path
from innkeeper.core.errors import RuntimeFailure, StateConflict, Unavailable
from innkeeper.disk.durable import sync
from innkeeper.disk.locks import try_lock
from innkeeper.runtime import image_archive, image_tree
from innkeeper.runtime.engine import Engine
from innkeeper.runtime.engine_service import EngineService
from innkeeper.store.copies import CopyFacts, copy_sqlite, sqlite_facts
from innkeeper.store.opening import database_path, is_postgres
from innkeeper.wiring import backup_file, restored
from innkeeper.wiring.backup_file import About, BackupWriter, is_backup
from innkeeper.wiring.last_run import LastRun, last_run
from innkeeper.wiring.runtimes import now

Progress = Callable[[str], None]
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SAY_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to take beside the database and the admin token."""

    builds: bool = True
    logs: bool = True


async def backup(data_dir: Path, target: Path, wanted: Wanted, progress: Progress) -> None:
    """Write the backup ``target``, of mode 0600: whole, or not at all.

    Raises ``StateConflict`` where there is nothing to back up, or ``target`` is another file;
    ``Unavailable`` on a full disk; ``RuntimeAway`` where the engine that holds the builds does not answer.
    """
    restored.refuse_unfinished(data_dir)
    before = last_run(data_dir)
    if before is None:
        raise StateConflict(f"nothing has been served from {data_dir}: name its --data-dir")
    try:
        with _whole(target) as file:
            writer = BackupWriter(file)
            facts = _add_database(writer, before, target, progress)
            _add_files(writer, data_dir, wanted, progress)
            if wanted.builds and facts.images:
                await _add_builds(writer, data_dir, before, facts, progress)
            writer.finish()
            progress(f"{target}: {file.tell():,} bytes, checked by SHA-256")
    except OSError as error:
        if error.errno in _FULL:
            raise Unavailable(
                f"disk full: no backup was made at {target}; free some space"
            ) from error
        raise StateConflict(f"no backup was made at {target}: {error.strerror}") from error


@contextmanager
def _whole(target: Path) -> Iterator[BinaryIO]:
    """The file beside ``target`` that takes its name once it is complete."""
    if target.is_dir() or (target.exists() and not is_backup(target)):
        raise StateConflict(f"{target} is there already and no backup: name another file")
    partial = target.with_name(f"{target.name}.partial")
    handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with open(handle, "r+b") as file:
        if not try_lock(handle):
            raise StateConflict(f"another backup is being written to {target}")
        try:
            os.fchmod(handle, 0o600)
            file.truncate(0)
            yield file
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    sync(target.absolute().parent)


def _add_database(
    writer: BackupWriter, before: LastRun, target: Path, progress: Progress
) -> CopyFacts:
    """The database as it is now, and first what the backup is: its schema is known then."""
    copy = target.with_name(f"{target.name}.database.partial")
    copy.unlink(missing_ok=True)
    taken_at = now()
    try:
        if is_postgres(before.database_url):
            from innkeeper.store import postgres_copies  # not quick to import

            progress("pg_dump copies the database")
            postgres_copies.dump(before.database_url, copy)
            facts = postgres_copies.postgres_facts(before.database_url)
        else:
            copy_sqlite(database_path(before.database_url), copy, _share("database", progress))
            facts = sqlite_facts(copy)
        writer.about(
            About(
                backup_file.FORMAT,
                __version__,
                facts.revision,
                "postgresql" if is_postgres(before.database_url) else "sqlite",
                facts.installation_id,
                before.runtime,
                taken_at.isoformat(),
            )
        )
        writer.copy(backup_file.DATABASE, copy)
        progress(f"database: {copy.stat().st_size:,} bytes, schema revision {facts.revision}")
    finally:
        copy.unlink(missing_ok=True)
    return facts


def _add_files(writer: BackupWriter, data_dir: Path, wanted: Wanted, progress: Progress) -> None:
    """What stands in files and cannot be made again."""
    _copy(writer, backup_file.TOKEN, token_path(data_dir))
    for path in sorted((data_dir / "builds").glob("*.log")):
        name = f"build-logs/{path.name}"
        if backup_file.BUILD_LOG.fullmatch(name):
            _copy(writer, name, path)
    if not wanted.logs:
        return
    count = 0
    for path in sorted((data_dir / "logs").glob("*.log.zst")):
        name = f"logs/{path.name}"
        if backup_file.LOG.fullmatch(name):
            count += _copy(writer, name, path)
    progress(f"logs of {count} processes")


def _copy(writer: BackupWriter, name: str, path: Path) -> bool:
    """Whether it was there: what is kept for a time may go meanwhile."""
    try:
        writer.copy(name, path)
    except FileNotFoundError:
        return False
    return True


async def _add_builds(
    writer: BackupWriter, data_dir: Path, before: LastRun, facts: CopyFacts, progress: Progress
) -> None:
    """What rooms are started from; one that is not there any more is told of, and left out."""
    if before.runtime == "process":
        held = 0
        for key, _ in facts.images:
            place = data_dir / "processes" / "images" / key
            if image_tree.is_whole(place):
                with writer.member(f"builds/{key}.tar") as sink:
                    image_tree.pack(place, sink)
                held += 1
                progress(f"build {key}: {sink.size:,} bytes")
    else:
        held = await _add_images(writer, data_dir, before, facts, progress)
    if missing := len(facts.images) - held:
        progress(f"WARNING: {missing} builds are not in the runtime any more, nor in the backup")


async def _add_images(
    writer: BackupWriter, data_dir: Path, before: LastRun, facts: CopyFacts, progress: Progress
) -> int:
    own = EngineService(data_dir).socket_path
    engine = Engine(Path(before.engine_socket) if before.engine_socket else own)
    try:
        await engine.open()
        refs = await image_archive.present(engine, [ref for _, ref in facts.images])
        if refs:
            share = _share(f"images of {len(refs)} builds", progress)
            with writer.member(backup_file.IMAGES) as sink:
                async for piece in image_archive.export(engine, refs):
                    sink.write(piece)
                    share(sink.size, 0)
            progress(f"images of {len(refs)} builds: {sink.size:,} bytes")
    except RuntimeFailure as error:
        advice = "start the server, or take a backup --without-builds"
        raise type(error)(f"{error.message}; {advice}") from error
    finally:
        await engine.close()
    return len(refs)


def _share(what: str, progress: Progress) -> backup_file.Share:
    """Says now and then how far it is; a total of 0 is not known."""
    said_at = time.monotonic()

    def share(done: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= _SAY_EVERY_S:
            said_at = time.monotonic()
            progress(f"{what}: {done:,} of {total:,} bytes" if total else f"{what}: {done:,} bytes")

    return share
