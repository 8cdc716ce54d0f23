"""No operation that is served goes untested: each of the SDK's own methods stands in a conformance test."""

import re
from pathlib import Path

from innkeeper.api.rows import OPERATIONS
from innkeeper.testing.official_sdk import Bridge
from innkeeper.testing.operations_record import sdk_operations

FOLDER = Path(__file__).resolve().parent


def test_the_sdks_methods_are_the_contracts_operations(bridge: Bridge) -> None:
    _, methods = bridge.methods()
    assert sorted(methods) == [each.call for each in sdk_operations()]
    assert len(methods) == 134


def test_every_operation_that_is_served_is_called() -> None:
    served = {row.operation_id for row in OPERATIONS}
    wanted = {each.call for each in sdk_operations() if each.operation_id in served}
    paths = [path for path in FOLDER.glob("test_*.py") if path != Path(__file__)]
    paths.append(FOLDER.parent.parent / "innkeeper/testing/live_studio.py")
    text = "".join(path.read_text() for path in paths)
    called = set(re.findall(r'"([a-z][A-Za-z]+V\d\.[A-Za-z0-9]+)"', text))
    called |= {f"roomsV2.get{which}RoomsForProcess" for which in ("Active", "Inactive")}
    assert wanted - called == set()
