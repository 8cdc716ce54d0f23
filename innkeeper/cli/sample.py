"""The sample game as an app of ours: its build and deployment, made once and found again."""

import secrets
import tempfile
from pathlib import Path

import click

import innkeeper
from innkeeper.cli.api import Api, Json, Refused, segment
from innkeeper.cli.archive import Archive, pack
from innkeeper.cli.deploy import create_deployment, find_or_make_app, run_build, upload
from innkeeper.cli.progress import Steps

APP_NAME = "tag"
_TOKEN_VARIABLE = "HATHORA_DEV_TOKEN"  # noqa: S105 - a name
_SHAPE: Json = {
    "requestedCPU": 0.5,
    "requestedMemoryMB": 512,
    "roomsPerProcess": 1,
    "additionalContainerPorts": [{"name": "tcp", "port": 7777, "transportType": "tcp"}],
    "idleTimeoutEnabled": True,
}


def prepare(api: Api, runtime: str, steps: Steps) -> str:
    """The id of the sample's app, whose latest deployment is of the present binary."""
    folder = Path(innkeeper.__file__).parents[1] / "samples" / "tag"
    if not (folder / "tag").is_file():
        raise click.ClickException(f"{folder}/tag is not built; `make sample` builds it")
    app_id = find_or_make_app(api, APP_NAME)
    with tempfile.TemporaryDirectory(prefix="innkeeper-") as temporary:
        archive = pack(folder, Path(temporary) / "tag.tar.gz")
        build_id = _find_or_make_build(api, archive, runtime, steps)
    latest = _latest_deployment(api, app_id)
    if latest is None or latest["buildId"] != build_id or not _shaped(latest):
        _deploy(api, app_id, build_id, latest)
    return app_id


def _find_or_make_build(api: Api, archive: Archive, runtime: str, steps: Steps) -> str:
    # The tag tells the content and what it was built for: an image is no use to host processes.
    tag = f"tag-{runtime}-{archive.sha256[:16]}"
    for build in api.call("GET", "/builds/v3/builds")["builds"]:
        usable = build["deletedAt"] is None and "expiredAt" not in build
        if build.get("buildTag") == tag and build["status"] == "succeeded" and usable:
            return str(build["buildId"])
    build = upload(api, archive, tag, steps)
    with steps.step("building the sample game"):
        run_build(api, build["buildId"], steps.line)
    return str(build["buildId"])


def _latest_deployment(api: Api, app_id: str) -> Json | None:
    path = f"/deployments/v3/apps/{segment(app_id)}/deployments/latest"
    try:
        found: Json = api.call("GET", path)
    except Refused as refusal:
        if refusal.status == 404:
            return None
        raise
    return found


def _shaped(deployment: Json) -> bool:
    default = {"name": "default", "port": 7777, "transportType": "udp"}
    return deployment["defaultContainerPort"] == default and all(
        deployment[field] == value for field, value in _SHAPE.items()
    )


def _deploy(api: Api, app_id: str, build_id: str, latest: Json | None) -> None:
    kept = {entry["name"]: entry["value"] for entry in (latest or {"env": []})["env"]}
    token = kept.get(_TOKEN_VARIABLE) or _make_token(api, app_id)
    env = [{"name": _TOKEN_VARIABLE, "value": token}]
    config = {**_SHAPE, "containerPort": 7777, "transportType": "udp", "env": env}
    create_deployment(api, app_id, build_id, config)


def _make_token(api: Api, app_id: str) -> str:
    """A token with which the game may read about itself and do nothing else."""
    org_id = api.call("GET", f"/apps/v2/apps/{segment(app_id)}")["orgId"]
    body = {"name": f"tag-{secrets.token_hex(4)}", "scopes": ["processes:read"]}
    made = api.call("POST", f"/tokens/v1/orgs/{segment(org_id)}/create", body)
    return str(made["plainTextToken"])
