"""``innkeeper room``: make, look at and end rooms."""

import json
from typing import Any

import click

from innkeeper.cli.api import Api, Json, api_options, app_option, segment

# The server waits no longer; a start has ended by then, well or not.
WAIT_LONGEST = "120s"
_PATIENCE_S = 150  # a little more than that


@click.group()
def room() -> None:
    """Make, look at and end rooms."""


@room.command()
@app_option
@click.option("--region", default="Chicago", show_default=True, help="The room's region.")
@click.option("--config", "room_config", metavar="TEXT", help="The room's config, any text.")
@click.option("--room-id", metavar="ID", help="An id of your own choice.")
@click.option("--deployment", metavar="ID", help="A deployment other than the latest.")
@click.option(
    "--wait",
    default=WAIT_LONGEST,
    show_default=True,
    metavar="TIME",
    help="How long to wait until players can join; in line, where the machine is full.",
)
@click.option("--no-wait", is_flag=True, help="Do not wait until players can join.")
@api_options
def create(
    api: Api,
    app: str | None,
    region: str,
    room_config: str | None,
    room_id: str | None,
    deployment: str | None,
    wait: str,
    no_wait: bool,
) -> None:
    """Make a room, and wait until players can join it."""
    app_id = api.app_id(app)
    body = {"region": region, "roomConfig": room_config, "deploymentId": deployment}
    if no_wait:
        told(create_room(api, app_id, body, room_id))
        return
    click.echo(f"waiting until players can join, at most {wait}", err=True)
    made = create_active_room(api, app_id, body, room_id, wait)
    told(made)
    for port in ports_of(made):
        click.echo(f"{port['name']}: {port['host']}:{port['port']}/{port['transportType']}")


def told(made: Json) -> None:
    """Say which room was made, and where it is."""
    click.echo(f"room {made['roomId']} on process {made['processId']}")


def create_room(
    api: Api, app_id: str, body: Json, room_id: str | None = None, wait: str | None = None
) -> Json:
    """The connection data of a new room; fields of ``body`` that are ``None`` are not sent."""
    given = {name: value for name, value in body.items() if value is not None}
    path = f"/rooms/v2/{segment(app_id)}/create"
    answer: Json = api.call("POST", path, given, _PATIENCE_S, roomId=room_id, wait=wait)
    return answer


def create_active_room(
    api: Api, app_id: str, body: Json, room_id: str | None = None, wait: str = WAIT_LONGEST
) -> Json:
    """As :func:`create_room`, once players can join: the server waits for that, and says why they cannot."""
    made = create_room(api, app_id, body, room_id, wait)
    if made["status"] != "active":
        raise click.ClickException(
            f"room {made['roomId']} is made, and not ready yet: it is {made['status']}; "
            f"`innkeeper why {made['roomId']}` tells what happens to it"
        )
    return made


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
