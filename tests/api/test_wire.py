"""The generated structs: fresh, strict where the contract is, and silent about what is left out."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from innkeeper.api import contract
from innkeeper.api import wire_generated as wire

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_file_is_fresh() -> None:
    words = [sys.executable, str(ROOT / "tools/generate_wire.py"), "--check"]
    found = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_every_object_schema_has_a_struct_that_can_be_decoded() -> None:
    for name, schema in contract.load().schemas.items():
        if schema.get("type") == "object":
            msgspec.json.Decoder(getattr(wire, name))


@pytest.mark.parametrize(
    "body",
    [
        {"name": "A\n", "value": "x"},
        {"name": "1A", "value": "x"},
        {"name": "Ä", "value": "x"},
        {"name": "", "value": "x"},
        {"name": "A"},
        {"name": "A", "value": None},
        {"name": "A", "value": 1},
    ],
)
def test_what_the_contract_refuses_is_refused(body: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(body), type=wire.DeploymentConfigV3Env)


def test_unknown_fields_are_ignored() -> None:
    body = b'{"region": "Tokyo", "another": {"deep": [1]}}'
    assert msgspec.json.decode(body, type=wire.CreateRoomParams).region == "Tokyo"


def test_whole_numbers_stay_in_what_clients_and_stores_can_hold() -> None:
    body = b'{"buildSizeInBytes": 1' + b"0" * 30 + b"}"
    schema = contract.load().schemas["CreateMultipartBuildParams"]
    if schema["properties"]["buildSizeInBytes"]["type"] == "integer":
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(body, type=wire.CreateMultipartBuildParams)


def test_left_out_and_null_are_told_apart() -> None:
    moment = datetime(2026, 1, 31, 12, 0, 0, 5000, tzinfo=UTC)
    room = wire.RoomAllocation(
        unscheduledAt=None, scheduledAt=moment, processId="p", roomAllocationId="a"
    )
    shown = json.loads(msgspec.json.encode(room))
    assert shown["unscheduledAt"] is None
    assert shown["scheduledAt"] == "2026-01-31T12:00:00.005000Z"
    info = wire.ConnectionInfoV2(additionalExposedPorts=[], status="starting", roomId="r")
    assert "exposedPort" not in json.loads(msgspec.json.encode(info))


def test_a_union_is_told_apart_by_its_field() -> None:
    shown = json.loads(msgspec.json.encode(wire.StartingConnectionInfo(roomId="r")))
    assert shown == {"status": "starting", "roomId": "r"}
