"""No operation of these families goes untested: each one's SDK call stands in a conformance test."""

import json
import re
from importlib.resources import files
from pathlib import Path

FAMILIES = (
    "appsV1",
    "appsV2",
    "billingV1",
    "buildsV1",
    "buildsV2",
    "buildsV3",
    "deploymentsV1",
    "deploymentsV2",
    "deploymentsV3",
    "discoveryV1",
    "discoveryV2",
    "fleetsV1",
    "fleetsV2",
    "logsV1",
    "managementV1",
    "metricsV1",
    "nodesV1",
    "organizationsV1",
    "processesV1",
    "processesV2",
    "processesV3",
    "roomsV1",
    "roomsV2",
    "tokensV1",
)
LATER: set[str] = set()


def test_every_operation_is_called() -> None:
    contract = json.loads((files("innkeeper.api") / "contract/openapi.json").read_text())
    calls = {
        str(operation["x-sdk-call"]).removeprefix("hathora.")
        for methods in contract["paths"].values()
        for operation in methods.values()
        if isinstance(operation, dict) and "x-sdk-call" in operation
    }
    wanted = {call for call in calls if call.partition(".")[0] in FAMILIES} - LATER
    assert len(wanted) == 117
    folder = Path(__file__).parent
    text = "".join(
        path.read_text() for path in folder.glob("test_*.py") if path.name != Path(__file__).name
    )
    text += (Path(folder.parent.parent) / "innkeeper/testing/live_studio.py").read_text()
    called = set(re.findall(r'"([a-z][A-Za-z]+V\d\.[A-Za-z0-9]+)"', text))
    called |= {f"roomsV2.get{which}RoomsForProcess" for which in ("Active", "Inactive")}
    assert wanted - called == set()
