"""``innkeeper up``: a server, the sample game on it, a room, and a bot that has played in it.

What ``make up`` runs. It stays until Ctrl-C and leaves nothing running.
"""

import asyncio
import contextlib
import os
import random
import signal
from pathlib import Path
from types import FrameType

import click

from innkeeper.cli import bot, control_plane
from innkeeper.cli.api import Api, Json
from innkeeper.cli.own_server import Answering, OwnServer, refuse_taken_port, trust
from innkeeper.cli.progress import Steps
from innkeeper.cli.rooms import create_active_room, ports_of
from innkeeper.cli.sample import APP_NAME, prepare
from innkeeper.cli.serve import announce, stop_everything
from innkeeper.cli.settings_options import read_settings, settings_options
from innkeeper.config import Settings, check_machine
from innkeeper.config.admin_token import AdminToken, admin_token
from innkeeper.config.values import Address
from innkeeper.core.errors import Invalid
from innkeeper.core.ids import Ids


class _Interrupts:
    """The first SIGINT, SIGTERM or SIGHUP ends the stay; later ones must not cut the cleaning up."""

    def __init__(self) -> None:
        self.stopping = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.stopping:
            # Not by a buffered stream, whose writing this may interrupt; and the terminal may be gone.
            with contextlib.suppress(OSError):
                os.write(2, b"still stopping; this takes 30 s at most\n")
            return
        self.stopping = True
        raise KeyboardInterrupt


@click.command()
@settings_options
def up(**flags: str | None) -> None:
    """Start Innkeeper, deploy the sample game, play a round, and stay until Ctrl-C.

    Takes every option of `serve`.
    """
    settings = read_settings(flags)
    try:
        check_machine(settings)
    except Invalid as wrong:
        raise click.UsageError(f"{wrong.field} {wrong.problem}") from None
    other = control_plane.running(settings.data_dir)
    if other:
        raise click.ClickException(
            f"an Innkeeper (process {other[0].pid}) runs on {settings.data_dir} already; "
            f"stop it first: innkeeper down --data-dir {settings.data_dir}"
        )
    refuse_taken_port(settings.listen)
    # Made here, so that the server does not write it into its log.
    token = admin_token(settings, Ids(random.SystemRandom().getrandbits).org_token)
    _hand_over(settings.data_dir, token.path)
    interrupts, was_up = _Interrupts(), False
    try:
        server = OwnServer(settings, flags, os.environ)
        answering = _start(server, Steps())
        _play(settings, answering, token)
        was_up = True
        if server.child.wait():
            raise server.ended()
        click.echo("\nsomebody else has stopped the server")
    except KeyboardInterrupt:
        announce("\nstopping everything")
        if not was_up:
            raise
    finally:
        interrupts.stopping = True
        stop_everything(settings.data_dir)


def _hand_over(data_dir: Path, token_file: Path) -> None:
    """Give the directory and the token to who called us by ``sudo``: the calls we show read it."""
    caller = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and all(part.isdigit() for part in caller):
        for path in (data_dir, token_file):
            os.chown(path, int(caller[0]), int(caller[1]), follow_symlinks=False)


def _start(server: OwnServer, steps: Steps) -> Answering:
    with steps.step("starting the server") as say:
        answering = server.wait_ready(say)
    for line in server.warnings():
        click.secho(line, fg="yellow", bold=True)
    return answering


def _play(settings: Settings, answering: Answering, token: AdminToken) -> None:
    """Deploy the sample where that is not done yet, and play a round in a new room."""
    steps = Steps()
    api = Api(answering.local_url, token.text, verify=trust(settings))
    try:
        app_id = prepare(api, answering.runtime, steps)
        region = "Chicago" if "Chicago" in settings.regions else settings.regions[0]
        with steps.step("starting a room"):
            room = create_active_room(api, app_id, {"region": region})
        udp, tcp = _addresses(room)
        with steps.step("playing a round"):
            try:
                played = asyncio.run(bot.play_round(udp, tcp))
            except bot.RoundFailed as failure:
                raise click.ClickException(f"the round was not played: {failure}") from None
    finally:
        api.close()
    click.echo(
        f"a bot exchanged {played.messages} messages, round trip {played.round_trip_ms:.2f} ms\n"
    )
    _show(answering, token, app_id, room, udp)


def _addresses(info: Json) -> tuple[Address, Address | None]:
    ports = {port["transportType"]: Address(port["host"], port["port"]) for port in ports_of(info)}
    return ports["udp"], ports.get("tcp")


def _show(answering: Answering, token: AdminToken, app_id: str, room: Json, udp: Address) -> None:
    url, kept = answering.public_url, _shown(token.path)
    click.echo(f"API {url}")
    shown = f"{token.text} (shown once; kept in {kept})" if token.made_now else f"in {kept}"
    click.echo(f"ADMIN TOKEN {shown}")
    click.echo(f"ROOM {room['roomId']} IN PLAY AT {udp}/udp")
    bearer = f'-H "Authorization: Bearer $(cat {kept})"'
    click.echo(
        f"""
Try next:
  another room   curl -s -X POST {bearer} -H "Content-Type: application/json" \\
                   -d '{{"region":"Chicago"}}' {url}/rooms/v2/{app_id}/create
  its address    curl -s {url}/rooms/v2/{app_id}/connectioninfo/{room["roomId"]}
  its log        curl -s {bearer} {url}/logs/v1/{app_id}/process/{room["processId"]}

The app is called {APP_NAME}. Ctrl-C stops everything."""
    )


def _shown(path: Path) -> str:
    """``path`` from here where that is shorter."""
    here = Path.cwd()
    return (
        str(path.absolute().relative_to(here))
        if path.absolute().is_relative_to(here)
        else str(path)
    )
