"""ProcessesV3 on the wire: its filters (behaviour.md 4.1)."""

from typing import Any

import pytest


@pytest.mark.parametrize("operation", ["GetLatestProcesses", "GetProcessesCountExperimental"])
@pytest.mark.parametrize(
    "before", ["999999999999999999999999", "-1e300", "-1e308", "9007199254740993"]
)
async def test_a_moment_that_no_clock_shows_is_refused(
    shop: Any, operation: str, before: str
) -> None:
    refused = await shop.call(operation, {"appId": shop.app}, params={"before": before})
    assert refused.status_code == 422
    assert "query.before" in refused.json()["details"]


async def test_a_drained_process_takes_no_new_rooms_and_keeps_the_old(shop: Any) -> None:
    await shop.studio.deploy(rooms_per_process=2)
    where = {"appId": shop.app}
    made = await shop.call("CreateRoom", where, json={"region": "Tokyo"})
    ids = {**where, "processId": made.json()["processId"]}
    for _ in range(2):  # again changes nothing
        assert (await shop.call("DrainProcess", ids)).status_code == 204
    other = await shop.call("CreateRoom", where, json={"region": "Tokyo"})
    assert other.json()["processId"] != ids["processId"]
    active = (await shop.call("GetActiveRoomsForProcess", ids)).json()
    assert [room["roomId"] for room in active] == [made.json()["roomId"]]
    assert (await shop.call("DrainProcess", ids | {"processId": "nobody"})).status_code == 404
    assert (await shop.call("StopProcess", ids)).status_code == 204
    assert (await shop.call("DrainProcess", ids)).status_code == 204
    assert (await shop.call("GetProcess", ids)).json()["status"] == "stopping"
