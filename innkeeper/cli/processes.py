"""``innkeeper ps`` and ``drain``: what runs, how what ran has ended, and its way to the end."""

from datetime import UTC, datetime, timedelta

import click

from innkeeper.cli.api import Api, Json, Refused, api_options, app_option, segment

_HEADINGS = ("PROCESS", "APP", "STATUS", "REGION", "ROOMS", "ADDRESS", "AGE", "ENDED BECAUSE")
_WHOLE_ID = 36  # characters of a UUID
_LIVE = ["starting", "running", "draining", "stopping"]


@click.command()
@app_option
@click.option("-a", "--all", "ended_too", is_flag=True, help="Processes that have ended, too.")
@api_options
def ps(api: Api, app: str | None, ended_too: bool) -> None:
    """List processes: the ten latest of each app."""
    wanted = [a for a in api.apps() if app in (None, a["appName"], a["appId"])]
    if app is not None and not wanted:
        api.app_id(app)
    rows: list[tuple[str, ...]] = [_HEADINGS]
    now = datetime.now(UTC)
    for each in wanted:
        rows += [
            _row(each["appName"], process, now) for process in latest(api, each["appId"], ended_too)
        ]
    if len(rows) == 1:
        click.echo("nothing runs" if not ended_too else "nothing has run yet", err=True)
        return
    click.echo(table(rows))


@click.command()
@click.argument("process")
@app_option
@api_options
def drain(api: Api, process: str, app: str | None) -> None:
    """Let PROCESS (its id, or the beginning of one) take no new rooms; it stops when it is empty."""
    app_id, process_id = find_process(api, process, app)
    path = f"/innkeeper/v1/apps/{segment(app_id)}/processes/{segment(process_id)}/drain"
    api.call("POST", path)
    click.echo(f"process {process_id} takes no new rooms, and stops when it is empty")


def latest(api: Api, app_id: str, ended_too: bool) -> list[Json]:
    """The latest processes of an app, newest first."""
    path = f"/processes/v3/apps/{segment(app_id)}/processes/latest"
    answer: list[Json] = api.call("GET", path, status=None if ended_too else _LIVE)
    return answer


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


def _row(app_name: str, process: Json, now: datetime) -> tuple[str, ...]:
    port = process.get("exposedPort")
    return (
        process["processId"],
        app_name,
        process["status"],
        process["region"],
        f"{process['roomsAllocated']}/{process['roomsPerProcess']}",
        f"{port['host']}:{port['port']}/{port['transportType']}" if port else "-",
        age(now - datetime.fromisoformat(process["createdAt"])),
        process.get("summaryExitReason", ""),
    )


def age(since: timedelta) -> str:
    """A duration in its largest unit: ``5s``, ``3m``, ``2h``, ``4d``."""
    seconds = max(int(since.total_seconds()), 0)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns two spaces apart, for eyes and for `awk` alike; control characters are not passed on."""
    clean = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(clean[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in clean
    )


def printable(text: str) -> str:
    """A game may print anything; a terminal shall not obey it."""
    return "".join(c if c.isprintable() else "?" for c in text)
