"""``innkeeper restore``: makes a data directory from a backup. Hold the directory while it works.

Everything is made ready beside what is there; then one rename decides (see ``restored.py``).
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from innkeeper.core.errors import InnkeeperError, StateConflict, Unavailable
from innkeeper.runtime import image_archive, image_tree
from innkeeper.store.copies import CopyFacts, sqlite_facts
from innkeeper.store.migrate import revisions
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


def restore(reader: BackupReader, data_dir: Path, force: bool, progress: Progress) -> None:
    """Put the backup's state into ``data_dir``, whole or not at all; no control plane runs there.

    ``force``: state that is there goes to ``before-restore-…`` in it. Raises :class:`StateConflict` where
    it is not empty, or is another installation's; ``Unavailable`` where the disk is full.
    """
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
    try:
        shutil.rmtree(staging, ignore_errors=True)
        _stage(reader, data_dir, staging, before, progress)
        (staging / restored.PLAN).write_text(json.dumps({"aside": aside}), "utf-8")
        os.sync()  # all of it, before the rename that decides
        staging.rename(data_dir / restored.READY)
    except OSError as error:
        raise Unavailable(f"nothing was restored to {data_dir}: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    restored.sync(data_dir)
    restored.finish(data_dir)
    if aside is not None:
        progress(f"what was there before is in {data_dir / aside}")


def _replaced(data_dir: Path, about: About, progress: Progress) -> LastRun | None:
    """What was told to the latest control plane there. Raises :class:`StateConflict` for strangers' state."""
    database = data_dir / restored.DATABASE
    if database.exists():
        try:
            other = sqlite_facts(database).installation_id
        except InnkeeperError as error:
            progress(
                f"WARNING: what is there cannot be read ({error.message}); it goes aside as it is"
            )
        else:
            if other != about.installation_id:
                raise StateConflict(
                    f"{data_dir} is another installation than the backup's: what it runs would be lost "
                    "sight of. Restore into a directory of its own"
                )
    before = last_run(data_dir)
    if before is not None and before.runtime != about.runtime:
        raise StateConflict(
            f"{data_dir} runs games in the {before.runtime} runtime, and the backup is of the "
            f"{about.runtime} runtime: restore into a directory of its own"
        )
    return before


def _check_room(reader: BackupReader, data_dir: Path) -> None:
    free = shutil.disk_usage(data_dir).free
    if free < reader.size + restored.RESERVE_BYTES:
        raise Unavailable(
            f"the disk is full: the backup needs {reader.size:,} bytes in {data_dir} beside a reserve "
            f"of {restored.RESERVE_BYTES:,}, and {free:,} are free"
        )


def _stage(
    reader: BackupReader, data_dir: Path, staging: Path, before: LastRun | None, progress: Progress
) -> None:
    """Lay everything out in ``staging`` as it will stand."""
    new, about = staging / restored.NEW, reader.about
    for path in (staging, new, staging / restored.BUILDS, new / "logs", new / "builds"):
        path.mkdir(mode=0o700)
    database = new / restored.DATABASE
    reader.extract(backup_file.DATABASE, database)
    facts = sqlite_facts(database)
    if (facts.revision, facts.installation_id) != (about.schema_revision, about.installation_id):
        raise StateConflict(f"{reader.path} is not the database that it says it is")
    progress(f"database: {database.stat().st_size:,} bytes, schema revision {facts.revision}")
    if backup_file.TOKEN in reader.members:
        reader.extract(backup_file.TOKEN, new / "admin-token")
    for name, kept in reader.matching(backup_file.LOG):
        reader.extract(name, new / "logs" / kept)
    for name, kept in reader.matching(backup_file.BUILD_LOG):
        reader.extract(name, new / "builds" / kept)
    _stage_builds(reader, staging, facts, progress)
    place = data_dir.absolute() / restored.DATABASE
    engine_socket = None if before is None else before.engine_socket
    LastRun(about.runtime, f"sqlite:///{place}", engine_socket).keep(new)


def _stage_builds(
    reader: BackupReader, staging: Path, facts: CopyFacts, progress: Progress
) -> None:
    wanted = {key for key, _ in facts.images}
    if backup_file.IMAGES in reader.members:
        images = staging / restored.NEW / restored.IMAGES_TO_LOAD
        reader.extract(backup_file.IMAGES, images)
        image_archive.check_names(images, [ref for _, ref in facts.images])
        progress(
            f"images: {images.stat().st_size:,} bytes; the next start gives them to the engine"
        )
        return
    held = 0
    for name, key in reader.matching(backup_file.BUILD):
        if key not in wanted:
            raise StateConflict(
                f"{reader.path} holds a build that its database does not know: {key}"
            )
        packed = staging / "build.tar"
        reader.extract(name, packed)
        image_tree.restore(packed, staging / restored.BUILDS / key)
        packed.unlink()
        held += 1
    progress(f"{held} builds")
    if held < len(wanted):
        progress(
            f"WARNING: {len(wanted) - held} builds are not in the backup: deploy them again, or their "
            "rooms cannot start"
        )
