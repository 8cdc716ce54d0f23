"""The command `innkeeper` and its subcommands, each in a module of its own."""

import click

from innkeeper import __version__
from innkeeper.cli import (
    backup,
    deploy,
    logs,
    processes,
    rooms,
    serve,
    tokens,
    up,
    users,
    warm_pools,
    webhooks,
    why,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="innkeeper", message="%(prog)s %(version)s")
def innkeeper() -> None:
    """A home for game rooms: runs games that speak the Hathora Cloud API on machines of your own."""


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


for command in (
    up.up,
    serve.serve,
    serve.down,
    serve.token,
    backup.backup,
    backup.restore,
    deploy.deploy,
    rooms.room,
    processes.ps,
    processes.drain,
    warm_pools.warm_pool,
    logs.logs,
    why.why,
    webhooks.webhooks,
    users.user,
    tokens.token_limit,
    version,
):
    innkeeper.add_command(command)
