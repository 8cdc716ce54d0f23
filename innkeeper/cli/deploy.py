"""``innkeeper deploy``: from a folder with a Dockerfile to a deployment that rooms can use."""

import tempfile
from pathlib import Path
from typing import Any

import click

from innkeeper.cli.api import Api, Json, api_options, pairs, segment
from innkeeper.cli.archive import Archive, pack
from innkeeper.cli.progress import Say, Steps

_TRANSPORTS = ("udp", "tcp", "tls")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--app", required=True, metavar="NAME", help="The app; made if there is none.")
@click.option("--tag", metavar="TEXT", help="A name for the build.")
@click.option(
    "--port", type=click.IntRange(1, 65535), required=True, help="The port the game binds."
)
@click.option("--transport", type=click.Choice(_TRANSPORTS), default="udp", show_default=True)
@click.option(
    "--extra-port",
    "extra_ports",
    multiple=True,
    metavar="NAME:PORT/TRANSPORT",
    help="Another port of the game. May be repeated.",
)
@click.option("--cpu", type=float, default=0.5, show_default=True, help="Cores.")
@click.option("--memory", type=int, default=512, show_default=True, help="Memory in MB.")
@click.option("--rooms-per-process", type=int, default=1, show_default=True)
@click.option(
    "--idle-timeout/--no-idle-timeout",
    default=True,
    show_default=True,
    help="Stop a process that has neither rooms nor connections.",
)
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable. May be repeated.")
@api_options
def deploy(
    api: Api,
    folder: Path,
    app: str,
    tag: str | None,
    port: int,
    transport: str,
    extra_ports: tuple[str, ...],
    cpu: float,
    memory: int,
    rooms_per_process: int,
    idle_timeout: bool,
    env: tuple[str, ...],
) -> None:
    """Upload FOLDER, build it, and make a deployment of it."""
    config = {
        "requestedCPU": cpu,
        "requestedMemoryMB": memory,
        "roomsPerProcess": rooms_per_process,
        "containerPort": port,
        "transportType": transport,
        "additionalContainerPorts": [_extra_port(text) for text in extra_ports],
        "env": [{"name": name, "value": value} for name, value in pairs(env).items()],
        "idleTimeoutEnabled": idle_timeout,
    }
    steps = Steps()
    app_id = find_or_make_app(api, app)
    with tempfile.TemporaryDirectory(prefix="innkeeper-") as temporary:
        with steps.step(f"packing {folder}"):
            archive = pack(folder, Path(temporary) / "build.tar.gz")
        build = upload(api, archive, tag, steps)
        run_build(api, build["buildId"], steps.line)
    made = create_deployment(api, app_id, build["buildId"], config)
    click.echo(f"deployment {made['deploymentId']} of build {made['buildId']} in {app_id}")
    click.echo(f"next: innkeeper room create --app {app}")


def _extra_port(text: str) -> Json:
    name, colon, rest = text.partition(":")
    port, slash, transport = rest.partition("/")
    if not (name and colon and slash and port.isdigit() and transport in _TRANSPORTS):
        problem = f"{text!r} is not NAME:PORT/TRANSPORT, such as chat:8080/tcp"
        raise click.BadParameter(problem, param_hint="--extra-port")
    return {"name": name, "port": int(port), "transportType": transport}


def find_or_make_app(api: Api, name: str) -> str:
    """The id of the app with this name or id; made where there is none."""
    for each in api.apps():
        if name in (each["appName"], each["appId"]):
            return str(each["appId"])
    made = api.call(
        "POST", "/apps/v2/apps", {"appName": name, "authConfiguration": {"anonymous": {}}}
    )
    click.echo(f"made app {name} ({made['appId']})")
    return str(made["appId"])


def upload(api: Api, archive: Archive, tag: str | None, steps: Steps) -> Json:
    """Create a build and send its archive part by part; the build as it was created."""
    params: dict[str, Any] = {"buildSizeInBytes": archive.size}
    if tag is not None:
        params["buildTag"] = tag
    build: Json = api.call("POST", "/builds/v3/builds", params)
    etags = []
    title = f"uploading build {build['buildId']}"
    with steps.bytes(title, archive.size) as done, open(archive.path, "rb") as file:
        for part in sorted(build["uploadParts"], key=lambda part: int(part["partNumber"])):
            content = file.read(int(build["maxChunkSize"]))
            etags.append(api.put_part(part["putRequestUrl"], content))
            done(len(content))
    api.complete_upload(build["completeUploadPostRequestUrl"], etags)
    return build


def run_build(api: Api, build_id: str, show: Say) -> None:
    """Run a build and show its log as it comes. Only the status read afterwards says how it ended."""
    path = f"/builds/v3/builds/{segment(build_id)}"
    for line in api.lines("POST", f"{path}/run"):
        show(line)
    status = api.call("GET", path)["status"]
    if status != "succeeded":
        raise click.ClickException(f"build {build_id} {status}; its log is above")


def create_deployment(api: Api, app_id: str, build_id: str, config: Json) -> Json:
    """A new deployment, which from now on is the app's latest."""
    path = f"/deployments/v3/apps/{segment(app_id)}/deployments"
    made: Json = api.call("POST", path, {"buildId": build_id, **config})
    return made
