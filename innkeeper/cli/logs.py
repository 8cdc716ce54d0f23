"""``innkeeper logs``: what a game has printed."""

import sys

import click

from innkeeper.cli.api import Api, api_options, app_option, segment
from innkeeper.cli.processes import find_process


@click.command()
@click.argument("process")
@app_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the process has ended.")
@click.option(
    "-n",
    "--tail",
    type=click.IntRange(1, 5000),
    default=100,
    show_default=True,
    help="How many lines, counted from the end.",
)
@click.option("--whole", is_flag=True, help="Everything that is kept, in place of the last lines.")
@api_options
def logs(api: Api, process: str, app: str | None, follow: bool, tail: int, whole: bool) -> None:
    """Print the output of PROCESS: its id, or the beginning of one."""
    app_id, process_id = find_process(api, process, app)
    path = f"/logs/v1/{segment(app_id)}/process/{segment(process_id)}"
    if whole:
        lines = api.lines("GET", f"{path}/download")
    else:
        lines = api.lines("GET", path, tailLines=tail, follow="true" if follow else None)
    for line in lines:
        click.echo(line)
        sys.stdout.flush()
