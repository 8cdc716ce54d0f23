"""The commands that run and end a control plane: ``serve``, ``down``, and ``token``."""

import asyncio
import contextlib
import logging
from pathlib import Path

import click

from innkeeper.cli import control_plane
from innkeeper.cli.settings_options import read_settings, settings_options
from innkeeper.config import Settings, check_machine
from innkeeper.config.admin_token import read_token, token_path
from innkeeper.core.errors import Invalid

# SIGTERM ends a control plane in under 5 s; more only when the machine is very busy.
CONTROL_PLANE_GRACE_S = 6.0

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="INNKEEPER_DATA_DIR",
    default=Path("data"),
    show_default=True,
    help="The data directory of the installation. [INNKEEPER_DATA_DIR]",
)


@click.command()
@settings_options
def serve(**flags: str | None) -> None:
    """Run the control plane until SIGTERM or Ctrl-C.

    Games go on running when it stops; `innkeeper down` stops those too.
    """
    settings = read_settings(flags)
    try:
        check_machine(settings)
    except Invalid as wrong:
        raise click.UsageError(f"{wrong.field} {wrong.problem}") from None
    with control_plane.claimed(settings.data_dir, settings.shared_store) as others:
        _serve(settings, others)


def _serve(settings: Settings, others: bool) -> None:
    # Imported late: the thin commands need not load the server.
    import uvloop

    from innkeeper import wiring

    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # A line for each call to the engine or each plugin would bury everything else.
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel("WARNING")
    uvloop.run(wiring.serve(settings, announce, others))


def announce(line: str) -> None:
    """One line on standard output, at once: it may be a pipe that another program reads.

    Nobody left to read it (a closed terminal, a broken pipe) must not keep us from what we do.
    """
    with contextlib.suppress(OSError):
        click.echo(line)


@click.command()
@data_dir_option
def down(data_dir: Path) -> None:
    """Stop every control plane of a data directory, then all that they started.

    Works when they are dead, and is content when nothing runs.
    """
    stop_everything(data_dir)


def stop_everything(data_dir: Path) -> None:
    """What ``down`` does; says what it does on the way."""
    if not data_dir.exists():
        announce(f"nothing runs: {data_dir} does not exist")
        return
    from innkeeper import wiring

    with control_plane.sole_down(data_dir):
        stopped = control_plane.stop(data_dir, CONTROL_PLANE_GRACE_S)
        if stopped:
            announce(
                "control plane stopped" if stopped == 1 else f"{stopped} control planes stopped"
            )
        asyncio.run(wiring.down(data_dir, announce))
    announce("nothing runs any more")


@click.command()
@data_dir_option
def token(data_dir: Path) -> None:
    """Print the admin token that is kept in the data directory."""
    try:
        text = read_token(data_dir)
    except PermissionError:
        raise click.ClickException(
            f"{token_path(data_dir)} may be read by its owner only"
        ) from None
    if text is None:
        raise click.ClickException(f"no token in {data_dir}: the first `innkeeper serve` makes one")
    click.echo(text)
