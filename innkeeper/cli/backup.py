"""The commands that save an installation into one file, and make it anew from there."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import click

from innkeeper.cli import control_plane
from innkeeper.cli.progress import Steps
from innkeeper.cli.serve import data_dir_option

file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@file_argument
@data_dir_option
@click.option(
    "--without-builds",
    is_flag=True,
    help="Leave out what rooms are started from: after a restore, deploy it again.",
)
@click.option("--without-logs", is_flag=True, help="Leave out the kept logs of ended processes.")
def backup(file: Path, data_dir: Path, without_builds: bool, without_logs: bool) -> None:
    """Save all that is needed to come back into FILE.

    The server may go on running: the backup shows one moment. FILE is complete, or not there; an earlier
    backup of that name is replaced. It holds secrets, and only you can read it.
    """
    from innkeeper import wiring
    from innkeeper.wiring.backup import Wanted

    wanted = Wanted(builds=not without_builds, logs=not without_logs)
    with _ended_like_ctrl_c(), Steps().step(f"backup of {data_dir}") as say:
        asyncio.run(wiring.backup(data_dir, file, wanted, say))


@click.command()
@file_argument
@data_dir_option
@click.option(
    "--force",
    is_flag=True,
    help="Where the data directory is not empty: first set the state that is there aside in it.",
)
@click.option(
    "--database",
    metavar="URL",
    envvar="INNKEEPER_DATABASE",
    help="The new, empty PostgreSQL database to fill, where the backup is of one. The variable is better "
    "than the flag where the URL holds a password. [INNKEEPER_DATABASE]",
)
def restore(file: Path, data_dir: Path, force: bool, database: str | None) -> None:
    """Make a data directory from a backup.

    Every checksum is looked at before anything is touched. Refused where a server runs. Then `innkeeper
    serve` goes on from there; an earlier schema is migrated.
    """
    from innkeeper import wiring

    with (
        _ended_like_ctrl_c(),
        Steps().step(f"restore to {data_dir}") as say,
        wiring.open_backup(file, say) as reader,
        control_plane.claimed(data_dir),
    ):
        wiring.restore(reader, data_dir, force, say, database)
    click.echo(f"next: innkeeper serve --data-dir {data_dir}")


@contextlib.contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, as a timer's unit sends it, cleans up too."""

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
