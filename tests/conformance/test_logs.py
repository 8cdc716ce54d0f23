"""LogsV1: tail, follow, download, and what is kept (behaviour.md 8.3)."""

from functools import partial

import pytest

from innkeeper.testing.live import eventually
from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import Sdk, refused
from innkeeper.testing.players import address_of, ask_udp


@pytest.fixture
def app_id(studio: LiveStudio, build_id: str) -> str:
    made = studio.app()
    studio.deploy(made, build_id, env={"PRINT_LINES": 300, "TEST_WORDS": 1})
    return made


def test_tail_and_download(studio: LiveStudio, app_id: str) -> None:
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    process_id = room["processId"]
    call = "logsV1.getLogsForProcess"
    follow = studio.sdk.follow(call, process_id, app_id, True, 5000)
    lines = []
    for line in follow.lines():
        lines.append(line)
        if line == "line 300":
            break
    follow.cancel()
    assert [line for line in lines if line.startswith("line ")] == [
        f"line {n}" for n in range(1, 301)
    ]
    # The SDK always sends tailLines=100 when it is not told otherwise.
    text = studio.sdk(call, process_id, app_id)
    assert text.splitlines() == [f"line {n}" for n in range(201, 301)]
    assert studio.sdk(call, process_id, app_id, False, 2) == "line 299\nline 300\n"
    for wrong in (0, 5001, -1):
        with refused(400, "tailLines"):
            studio.sdk(call, process_id, app_id, False, wrong)
    with refused(400, process_id):
        studio.sdk("logsV1.downloadLogForProcess", process_id, app_id)

    studio.sdk("processesV3.stopProcess", process_id, app_id)
    studio.reaches(app_id, process_id, "stopped")
    whole, (reply,) = studio.sdk.answered("logsV1.downloadLogForProcess", process_id, app_id)
    kept = whole["text"].splitlines()
    assert kept[: len(lines)] == lines
    assert kept[-1] == "stopping on signal 15"
    disposition = reply.headers["content-disposition"]
    assert disposition == f'attachment; filename="{process_id}.log"'
    assert studio.sdk(call, process_id, app_id, False, 1) == "stopping on signal 15\n"


def test_follow_goes_on_until_the_process_has_ended(studio: LiveStudio, app_id: str) -> None:
    room = studio.room(app_id)
    active = studio.active(app_id, room["roomId"])
    stream = studio.sdk.follow("logsV1.getLogsForProcess", room["processId"], app_id, True, 1)
    lines = stream.lines()
    assert next(lines) == "line 300"
    ask_udp(address_of(active["exposedPort"]), "JOIN 1")
    assert next(lines) == "player 1 joined over UDP"
    with pytest.raises(TimeoutError):
        ask_udp(address_of(active["exposedPort"]), "EXIT 1 0", tries=1)
    assert list(lines) == ["told to exit with code 0"]


def test_following_what_has_ended_ends(studio: LiveStudio, app_id: str) -> None:
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    studio.sdk("processesV3.stopProcess", room["processId"], app_id)
    studio.reaches(app_id, room["processId"], "stopped")
    stream = studio.sdk.follow("logsV1.getLogsForProcess", room["processId"], app_id, True, 2)
    assert list(stream.lines()) == ["line 300", "stopping on signal 15"]


def test_a_process_that_said_nothing_yet_has_an_empty_log(studio: LiveStudio, app_id: str) -> None:
    process_id = studio.sdk("processesV3.createProcess", "Seattle", app_id)["processId"]
    stream = studio.sdk.follow("logsV1.getLogsForProcess", process_id, app_id, True, 5000)
    lines = stream.lines()
    assert any(line == "line 300" for line in lines)
    stream.cancel()


def test_unknown_and_foreign_logs(studio: LiveStudio, app_id: str, stranger: Sdk) -> None:
    process_id = studio.sdk("processesV3.createProcess", "Seattle", app_id)["processId"]
    for call in ("logsV1.getLogsForProcess", "logsV1.downloadLogForProcess"):
        with refused(404, "nowhere"):
            studio.sdk(call, "nowhere", app_id)
        with refused(404):
            stranger(call, process_id, app_id)
        with refused(404):
            studio.sdk(call, process_id, studio.app())


def test_the_logs_of_an_app_and_of_a_deployment_name_their_process(
    studio: LiveStudio, app_id: str
) -> None:
    """Two routes that older clients call (behaviour.md 8.3)."""
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    studio.reaches(app_id, room["processId"], "running")
    deployment_id = studio.process(app_id, room["processId"])["deploymentId"]
    expected = f"[{room['processId']}] line 7"

    def told(path: str) -> bool:
        with studio.server.http() as http:
            return expected in http.get(path, params={"tailLines": 5000}).text.splitlines()

    for path in (f"/logs/v1/{app_id}/all", f"/logs/v1/{app_id}/deployment/{deployment_id}"):
        eventually(partial(told, path), 10, f"{path} tells line 7")
