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
