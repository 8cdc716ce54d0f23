"""``innkeeper ps``: what runs, and how what ran has ended."""

from datetime import UTC, datetime, timedelta

import click

from innkeeper.cli.api import Api, Json, api_options, app_option, segment

_HEADINGS = ("PROCESS", "APP", "STATUS", "REGION", "ROOMS", "ADDRESS", "AGE", "ENDED BECAUSE")
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


def latest(api: Api, app_id: str, ended_too: bool) -> list[Json]:
    """The latest processes of an app, newest first."""
    path = f"/processes/v3/apps/{segment(app_id)}/processes/latest"
    answer: list[Json] = api.call("GET", path, status=None if ended_too else _LIVE)
    return answer


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
    clean = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(clean[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in clean
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
