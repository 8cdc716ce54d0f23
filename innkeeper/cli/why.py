"""``innkeeper why``: what happened to a room or a process, why, and what to do."""

import json
from datetime import datetime

import click

from innkeeper.cli.api import Api, Json, Refused, api_options, app_option, segment
from innkeeper.cli.processes import find_process, printable
from innkeeper.core.telling import span

_WIDTH = 100


@click.command()
@click.argument("name", metavar="ROOM|PROCESS")
@app_option
@click.option(
    "--json", "as_json", is_flag=True, help="The answer of the API as it is, for programs."
)
@api_options
def why(api: Api, name: str, app: str | None, as_json: bool) -> None:
    """Tell the story of a room or a process: what happened when, why, how it stands, what to do.

    NAME is a room's id, or a process's, or the beginning of one of the latest processes' ids.
    """
    story = find_story(api, name, app)
    if as_json:
        click.echo(json.dumps(story, indent=2, ensure_ascii=False))
        return
    for line in lines_of(story):
        click.echo(line)


def find_story(api: Api, name: str, app: str | None) -> Json:
    """The story of whatever has this name, in the app that is named or in any."""
    apps = [api.app_id(app)] if app is not None else [str(a["appId"]) for a in api.apps()]
    for kind in ("rooms", "processes"):
        for app_id in apps:
            story = _story(api, app_id, kind, name)
            if story is not None:
                return story
    try:
        app_id, process_id = find_process(api, name, app)
    except click.ClickException:
        where = "this app" if app is not None else "any app"
        raise click.ClickException(
            f"no room and no process of {where} has the id {name}. Ids are case-sensitive. Rooms and "
            "processes stay readable after their end, but not those of a deleted app. `innkeeper ps -a` "
            "shows the latest processes"
        ) from None
    story = _story(api, app_id, "processes", process_id)
    assert story is not None, "it was just listed"
    return story


def _story(api: Api, app_id: str, kind: str, name: str) -> Json | None:
    try:
        path = f"/innkeeper/v1/apps/{segment(app_id)}/{kind}/{segment(name)}/story"
        story: Json = api.call("GET", path)
    except Refused as refusal:
        if refusal.status == 404:
            return None
        raise
    return story


def lines_of(story: Json) -> list[str]:
    """The story for a terminal: first how things stand, then how they came to that, in local time."""
    lines = [*_wrapped(story["now"], "")]
    for each in story["advice"]:
        lines += _wrapped(each, "  ", "> ")
    if story["events"]:
        lines.append("")
        lines += _timeline(story["events"])
    if story["lastLines"]:
        lines += ["", f"The last lines of process {story['processId'][:8]}:"]
        lines += [f"  | {printable(line.expandtabs(4))}" for line in story["lastLines"]]
    return lines


def _timeline(events: list[Json]) -> list[str]:
    lines: list[str] = []
    before: datetime | None = None
    for event in events:
        at = datetime.fromisoformat(event["at"]).astimezone()
        if before is None or at.date() != before.date():
            lines.append(f"{at:%A, %d %B %Y}, {at.tzname()}")
        since = "" if before is None else f"+{span((at - before).total_seconds())}"
        clock = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
        head = f"  {clock}  {since:>13}  "
        lines += _wrapped(event["text"], " " * len(head), "", head)
        before = at
    return lines


def _wrapped(text: str, indent: str, mark: str = "", head: str | None = None) -> list[str]:
    words, lines = printable(text.expandtabs(4)).split(" "), []
    line = (indent if head is None else head) + mark
    empty = True
    for word in words:
        if not empty and len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line, empty = indent + " " * len(mark), True
        line += word if empty else f" {word}"
        empty = False
    return [*lines, line]
