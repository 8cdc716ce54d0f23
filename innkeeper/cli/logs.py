"""``innkeeper logs``: what a game has printed."""

import sys

import click

from innkeeper.cli.api import Api, Refused, api_options, app_option, segment
from innkeeper.cli.processes import latest

_WHOLE_ID = 36  # characters of a UUID


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


def find_process(api: Api, wanted: str, app: str | None) -> tuple[str, str]:
    """The app and full id of a process given by its id, or the beginning of one of the latest."""
    apps = [api.app_id(app)] if app is not None else [str(a["appId"]) for a in api.apps()]
    if not apps:
        raise click.ClickException("there is no app yet")
    if len(wanted) == _WHOLE_ID:
        found = [(app_id, wanted) for app_id in apps if _has(api, app_id, wanted)]
        if not found:
            raise click.ClickException(f"no process {wanted}")
        return found[0]
    found = [
        (app_id, str(process["processId"]))
        for app_id in apps
        for process in latest(api, app_id, ended_too=True)
        if process["processId"].startswith(wanted)
    ]
    if len(found) != 1:
        problem = "several processes begin" if found else "none of the latest processes begins"
        raise click.ClickException(f"{problem} with {wanted}; see `innkeeper ps -a`")
    return found[0]


def _has(api: Api, app_id: str, process_id: str) -> bool:
    try:
        api.call("GET", f"/processes/v3/apps/{segment(app_id)}/processes/{segment(process_id)}")
    except Refused as refusal:
        if refusal.status == 404:
            return False
        raise
    return True
