"""What a game is started with (behaviour.md 0.1): the probe prints it."""

import ipaddress

import pytest

from innkeeper.testing.live_studio import Json, LiveStudio


def started_with(lines: list[str], word: str = "ENV") -> dict[str, str]:
    facts = (line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} "))
    return dict(fact.split("=", 1) for fact in facts)


@pytest.fixture
def scene(studio: LiveStudio, build_id: str) -> tuple[str, Json, Json]:
    """An app, its deployment, and an active room with a config."""
    app_id = studio.app()
    deployment = studio.deploy(
        app_id,
        build_id,
        env={"OWN": "a=b  c$HOME", "EMPTY": "", "OVERRIDDEN": "deployment"},
        roomsPerProcess=3,
        requestedCPU=0.75,
        additionalContainerPorts=[
            {"name": "tcp", "port": 7777, "transportType": "tcp"},
        ],
    )
    room = studio.room(app_id, roomConfig='{"a": "b=c\\n"}', region="Los_Angeles")
    return app_id, deployment, {**room, **studio.active(app_id, room["roomId"])}


def test_the_platforms_variables(
    studio: LiveStudio, scene: tuple[str, Json, Json], runtime: str
) -> None:
    app_id, deployment, room = scene
    env = started_with(studio.logs(app_id, room["processId"]))
    host, port = room["exposedPort"]["host"], str(room["exposedPort"]["port"])
    expected = {
        "HATHORA_APP_ID": app_id,
        "HATHORA_APP_SECRET": studio.sdk("appsV2.getApp", app_id)["appSecret"],
        "HATHORA_PROCESS_ID": room["processId"],
        "HATHORA_DEPLOYMENT_ID": deployment["deploymentId"],
        "HATHORA_BUILD_TAG": "the-game",
        "HATHORA_REGION": "Los_Angeles",
        "HATHORA_ROOMS_PER_PROCESS": "3",
        "HATHORA_INITIAL_ROOM_ID": room["roomId"],
        "HATHORA_INITIAL_ROOM_CONFIG": '{"a": "b=c\\n"}',
        "HATHORA_HOSTNAME": host,
        "HATHORA_DEFAULT_PORT": port,
        "HATHORA_TCP_PORT": str(room["additionalExposedPorts"][0]["port"]),
        "HATHORA_ALLOCATED_CPU": "0.75",
        "HATHORA_ALLOCATED_MEMORY_MB": "512",
        "HATHORA_IP": env["HATHORA_IP"],
        "HATHORA_PORT": port,
        "OWN": "a=b  c$HOME",
        "EMPTY": "",
        "IMAGE_WORD": "from the image",
        "OVERRIDDEN": "deployment",
    }
    assert {name: env.get(name) for name in expected} == expected
    assert ipaddress.IPv4Address(env["HATHORA_IP"])
    assert ipaddress.IPv4Address(env["HATHORA_PRIVATE_IP"])
    # Its own network: the port is the container's, and PORT is unset. The host's network: PORT says where.
    assert env.get("PORT") == (None if runtime == "container" else port)
    assert env["HATHORA_SERVER_URL"].startswith("http")


def test_nothing_of_the_control_planes_own_environment(
    studio: LiveStudio, scene: tuple[str, Json, Json]
) -> None:
    app_id, _, room = scene
    env = started_with(studio.logs(app_id, room["processId"]))
    leaked = {name for name in env if name.startswith(("INNKEEPER_", "PYTHON", "SUDO_", "PYTEST"))}
    assert not leaked


def test_arguments_and_user(studio: LiveStudio, scene: tuple[str, Json, Json]) -> None:
    app_id, _, room = scene
    lines = studio.logs(app_id, room["processId"])
    assert "ARG one argument" in lines


def test_without_a_room_the_initial_room_is_empty(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    process_id = studio.sdk("processesV3.createProcess", "Seattle", app_id)["processId"]
    studio.reaches(app_id, process_id, "running")
    env = started_with(studio.logs(app_id, process_id))
    assert not env.get("HATHORA_INITIAL_ROOM_ID")
    assert not env.get("HATHORA_INITIAL_ROOM_CONFIG")


def test_a_build_without_a_tag_has_an_empty_one(studio: LiveStudio, game: bytes) -> None:
    app_id = studio.app()
    studio.deploy(app_id, studio.build(game)["buildId"])
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    assert started_with(studio.logs(app_id, room["processId"]))["HATHORA_BUILD_TAG"] == ""


def test_a_game_asks_the_api_for_itself_before_it_binds(
    studio: LiveStudio, build_id: str, org_id: str
) -> None:
    token = studio.sdk(
        "tokensV1.createOrgToken", org_id, {"name": "of-the-game", "scopes": ["processes:read"]}
    )
    app_id = studio.app()
    studio.deploy(app_id, build_id, env={"HATHORA_DEV_TOKEN": token["plainTextToken"]})
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    lines = studio.logs(app_id, room["processId"])
    studio.sdk("tokensV1.revokeOrgToken", org_id, token["orgToken"]["orgTokenId"])
    bound = next(n for n, line in enumerate(lines) if line.startswith("bound port"))
    before = lines[:bound]
    assert "asked for process: 200 starting" in before, before
    assert f"asked for rooms: 200 {room['roomId']}" in before, before
