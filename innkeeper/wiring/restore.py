"""``innkeeper restore``: makes a data directory from a backup. Hold the directory while it works.

Everything is made ready beside what is there; then one rename decides (see ``restored.py``).
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from innkeeper.core.errors import InnkeeperError, StateConflict, Unavailable
from innkeeper.core.moments import to_ms
from innkeeper.disk.durable import sync
from innkeeper.runtime import image_archive, image_tree
from innkeeper.store.copies import CopyFacts, count_anew, sqlite_facts
from innkeeper.store.migrate import revisions
from innkeeper.store.opening import is_postgres
from innkeeper.wiring import backup_file, restored
from innkeeper.wiring.backup_file import About, BackupReader
from innkeeper.wiring.last_run import LastRun, last_run
from innkeeper.wiring.runtimes import now

Progress = Callable[[str], None]


def open_backup(path: Path, progress: Progress) -> BackupReader:
    """A backup whose every checksum is right and whose schema this version knows; the caller closes it.

    Raises :class:`StateConflict` for any other file. Touches nothing.
    """
    reader = BackupReader(path)
    about = reader.about
    known = revisions()
    if about.schema_revision not in known:
        reader.close()
        raise StateConflict(
            f"{path} has schema revision {about.schema_revision}, made by Innkeeper {about.innkeeper}; "
            f"this one knows revisions up to {known[-1]}: restore it with that version"
        )
    progress(
        f"{path}: taken {about.taken_at} by Innkeeper {about.innkeeper}, every checksum is right"
    )
    return reader


def restore(
    reader: BackupReader,
    data_dir: Path,
    force: bool,
    progress: Progress,
    database_url: str | None = None,
) -> None:
    """Put the backup's state into ``data_dir``, whole or not at all; no control plane runs there.

    ``force``: state that is there goes to ``before-restore-…`` in it. ``database_url`` is the empty
    PostgreSQL database to fill, where the backup is of one. Raises :class:`StateConflict` where directory or
    database are not empty, or are another installation's; ``Unavailable`` where the disk is full.
    """
    _check_database(reader.about, database_url)
    if restored.finish(data_dir):
        progress("an earlier restore was brought to its end first")
    aside = None
    before = None
    if not restored.is_unused(data_dir):
        if not force:
            raise StateConflict(
                f"{data_dir} is not empty: name another --data-dir, or --force, which first sets the "
                "state that is there aside"
            )
        before = _replaced(data_dir, reader.about, progress)
        aside = f"before-restore-{now():%Y%m%dT%H%M%S.%f}"[:-3]
    _check_room(reader, data_dir)
    staging = data_dir / restored.STAGING
    engine_socket = None if before is None else before.engine_socket
    try:
        shutil.rmtree(staging, ignore_errors=True)
        url = _stage(reader, data_dir, staging, database_url, progress)
        LastRun(reader.about.runtime, url, engine_socket).keep(staging / restored.NEW)
        (staging / restored.PLAN).write_text(json.dumps({"aside": aside}), "utf-8")
        os.sync()  # all of it, before the rename that decides
        staging.rename(data_dir / restored.READY)
    except OSError as error:
        raise Unavailable(f"nothing was restored to {data_dir}: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    sync(data_dir)
    restored.finish(data_dir)
    if aside is not None:
        progress(f"what was there before is in {data_dir / aside}")


def _check_database(about: About, database_url: str | None) -> None:
    if about.store == "sqlite" and database_url is not None and is_postgres(database_url):
        raise StateConflict(
            "the backup is of an embedded store, which goes into the data directory: leave out --database"
        )
    if about.store == "postgresql" and (database_url is None or not is_postgres(database_url)):
        raise StateConflict(
            "the backup is of a PostgreSQL database: name a new, empty one with --database postgresql://…; "
            "the one before stays as it is"
        )
    if about.store not in ("sqlite", "postgresql"):
        raise StateConflict(
            f"the backup is of a store that this version does not know: {about.store}"
        )


def _replaced(data_dir: Path, about: About, progress: Progress) -> LastRun | None:
    """What was told to the latest control plane there. Raises :class:`StateConflict` for strangers' state."""
    before = last_run(data_dir)
    try:
        other = _facts_of(data_dir, before)
    except InnkeeperError as error:
        progress(f"WARNING: what is there cannot be read ({error.message}); it goes aside as it is")
    else:
        if other is not None and other.installation_id != about.installation_id:
            raise StateConflict(
                f"{data_dir} is another installation than the backup's: what it runs would be lost "
                "sight of. Restore into a directory of its own"
            )
    if before is not None and before.runtime != about.runtime:
        raise StateConflict(
            f"{data_dir} runs games in the {before.runtime} runtime, and the backup is of the "
            f"{about.runtime} runtime: restore into a directory of its own"
        )
    return before


def _facts_of(data_dir: Path, before: LastRun | None) -> CopyFacts | None:
    """What was served from the directory until now; ``None`` where that is nothing."""
    database = data_dir / restored.DATABASE
    if before is not None and is_postgres(before.database_url):
        from innkeeper.store import postgres_copies

        return postgres_copies.postgres_facts(before.database_url)
    return sqlite_facts(database) if database.exists() else None


def _check_room(reader: BackupReader, data_dir: Path) -> None:
    free = shutil.disk_usage(data_dir).free
    if free < reader.size + restored.RESERVE_BYTES:
        raise Unavailable(
            f"the disk is full: the backup needs {reader.size:,} bytes in {data_dir} beside a reserve "
            f"of {restored.RESERVE_BYTES:,}, and {free:,} are free"
        )


def _stage(
    reader: BackupReader,
    data_dir: Path,
    staging: Path,
    database_url: str | None,
    progress: Progress,
) -> str:
    """Lay everything out in ``staging`` as it will stand, the database last; returns its URL."""
    new, about = staging / restored.NEW, reader.about
    for path in (staging, new, staging / restored.BUILDS, new / "logs", new / "builds"):
        path.mkdir(mode=0o700)
    if backup_file.TOKEN in reader.members:
        reader.extract(backup_file.TOKEN, new / "admin-token")
    for name, kept in reader.matching(backup_file.LOG):
        reader.extract(name, new / "logs" / kept)
    for name, kept in reader.matching(backup_file.BUILD_LOG):
        reader.extract(name, new / "builds" / kept)
    keys = _stage_builds(reader, staging)
    if about.store == "sqlite":
        facts = _stage_file(reader, new / restored.DATABASE)
        place = f"sqlite:///{data_dir.absolute() / restored.DATABASE}"
        if database_url not in (None, place):
            progress(
                f"WARNING: the database goes into the data directory: serve with --database {place}"
            )
        database_url = place
    else:
        assert database_url is not None, "it was checked first"
        facts = _fill_postgres(reader, staging / "dump", database_url, progress)
    if (facts.revision, facts.installation_id) != (about.schema_revision, about.installation_id):
        raise StateConflict(f"{reader.path} does not hold the database that it says it does")
    progress(f"database: schema revision {facts.revision}")
    _check_builds(reader, new / restored.IMAGES_TO_LOAD, keys, facts, progress)
    return database_url


def _stage_file(reader: BackupReader, database: Path) -> CopyFacts:
    reader.extract(backup_file.DATABASE, database)
    facts = sqlite_facts(database)
    count_anew(database, to_ms(now()))
    return facts


def _fill_postgres(
    reader: BackupReader, dump: Path, database_url: str, progress: Progress
) -> CopyFacts:
    from innkeeper.store import postgres_copies  # not quick to import

    reader.extract(backup_file.DATABASE, dump)
    progress("pg_restore fills the database")
    postgres_copies.load(database_url, dump)
    dump.unlink()
    return postgres_copies.postgres_facts(database_url)


def _stage_builds(reader: BackupReader, staging: Path) -> set[str]:
    """Unpack what rooms are started from; the keys of host processes' builds."""
    keys = set()
    if backup_file.IMAGES in reader.members:
        reader.extract(backup_file.IMAGES, staging / restored.NEW / restored.IMAGES_TO_LOAD)
    for name, key in reader.matching(backup_file.BUILD):
        packed = staging / "build.tar"
        reader.extract(name, packed)
        image_tree.restore(packed, staging / restored.BUILDS / key)
        packed.unlink()
        keys.add(key)
    return keys


def _check_builds(
    reader: BackupReader, images: Path, keys: set[str], facts: CopyFacts, progress: Progress
) -> None:
    """Refuse what no build of the database made; say what is missing."""
    wanted = {key for key, _ in facts.images}
    if strange := keys - wanted:
        raise StateConflict(
            f"{reader.path} holds a build that its database does not know: {min(strange)}"
        )
    if images.exists():
        image_archive.check_names(images, [ref for _, ref in facts.images])
        progress(
            f"images: {images.stat().st_size:,} bytes; the next start gives them to the engine"
        )
        return
    progress(f"{len(keys)} builds")
    if len(keys) < len(wanted):
        progress(
            f"WARNING: {len(wanted) - len(keys)} builds are not in the backup: deploy them again, or their "
            "rooms cannot start"
        )
