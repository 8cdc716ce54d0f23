"""``innkeeper room``: make, look at and end rooms."""

import json
import time
from typing import Any

import click

from innkeeper.cli.api import Api, Json, api_options, app_option, segment

_POLL_S = 0.25


@click.group()
def room() -> None:
    """Make, look at and end rooms."""


@room.command()
@app_option
@click.option("--region", default="Chicago", show_default=True, help="The room's region.")
@click.option("--config", "room_config", metavar="TEXT", help="The room's config, any text.")
@click.option("--room-id", metavar="ID", help="An id of your own choice.")
@click.option("--deployment", metavar="ID", help="A deployment other than the latest.")
@click.option("--no-wait", is_flag=True, help="Do not wait until players can join.")
@api_options
def create(
    api: Api,
    app: str | None,
    region: str,
    room_config: str | None,
    room_id: str | None,
    deployment: str | None,
    no_wait: bool,
) -> None:
    """Make a room, and wait until players can join it."""
    app_id = api.app_id(app)
    made = create_room(api, app_id, region, room_config, room_id, deployment)
    click.echo(f"room {made['roomId']} on process {made['processId']}")
    if not no_wait:
        for port in ports_of(wait_active(api, app_id, made["roomId"])):
            click.echo(f"{port['name']}: {port['host']}:{port['port']}/{port['transportType']}")


def create_room(
    api: Api,
    app_id: str,
    region: str,
    room_config: str | None = None,
    room_id: str | None = None,
    deployment_id: str | None = None,
) -> Json:
    """The connection data of a new room."""
    body = {"region": region, "roomConfig": room_config, "deploymentId": deployment_id}
    given = {name: value for name, value in body.items() if value is not None}
    path = f"/rooms/v2/{segment(app_id)}/create"
    answer: Json = api.call("POST", path, given, roomId=room_id)
    return answer


def wait_active(api: Api, app_id: str, room_id: str, timeout_s: float = 120.0) -> Json:
    """Poll a room's connection info until it is active; a failed start is told as the API tells it."""
    path = f"/rooms/v2/{segment(app_id)}/connectioninfo/{segment(room_id)}"
    until = time.monotonic() + timeout_s
    while True:
        info: Json = api.call("GET", path)
        if info["status"] == "active":
            return info
        if time.monotonic() > until:
            raise click.ClickException(f"room {room_id} is not ready after {timeout_s:g} s")
        time.sleep(_POLL_S)


def ports_of(info: Json) -> list[Json]:
    """The exposed ports of connection info, the default one first."""
    first = [info["exposedPort"]] if info.get("exposedPort") else []
    return first + list(info["additionalExposedPorts"])


@room.command()
@click.argument("room_id")
@app_option
@api_options
def info(api: Api, app: str | None, room_id: str) -> None:
    """Show a room: its status, its config, and the processes it was on."""
    show(api.call("GET", f"/rooms/v2/{segment(api.app_id(app))}/info/{segment(room_id)}"))


@room.command()
@click.argument("room_id")
@app_option
@api_options
def destroy(api: Api, app: str | None, room_id: str) -> None:
    """End a room."""
    api.call("POST", f"/rooms/v2/{segment(api.app_id(app))}/destroy/{segment(room_id)}")
    click.echo(f"room {room_id} destroyed")


def show(value: Any) -> None:
    """Print JSON for people."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
