"""Paths to operations."""

import pytest

from innkeeper.api import contract
from innkeeper.api.routing import Match, Router, WrongMethod

DECLARED = contract.load().operations


@pytest.fixture(scope="module")
def router() -> Router[str]:
    router: Router[str] = Router()
    for declaration in DECLARED.values():
        router.add(declaration.method, declaration.path, declaration.operation_id)
    return router


def test_the_contract_has_its_134_operations() -> None:
    assert sum(not declaration.extension for declaration in DECLARED.values()) == 134


@pytest.mark.parametrize("operation_id", sorted(DECLARED))
def test_every_operation_is_reached_by_its_own_path(router: Router[str], operation_id: str) -> None:
    declaration = DECLARED[operation_id]
    values = {name: f"some-{name}" for name in declaration.path_names}
    path = declaration.path.format(**values)
    assert router.find(declaration.method, path.encode()) == Match(operation_id, values)


@pytest.mark.parametrize(
    ("method", "path", "operation_id"),
    [
        ("GET", "/deployments/v3/apps/a/deployments/latest", "GetLatestDeployment"),
        ("GET", "/deployments/v3/apps/a/deployments/dep-1", "GetDeployment"),
        ("POST", "/builds/v3/builds/registry", "CreateBuildRegistry"),
        ("GET", "/orgs/v1/user/invites/pending", "GetUserPendingInvites"),
    ],
)
def test_a_fixed_segment_wins(
    router: Router[str], method: str, path: str, operation_id: str
) -> None:
    found = router.find(method, path.encode())
    assert isinstance(found, Match)
    assert found.route == operation_id


def test_a_fixed_segment_that_leads_nowhere_gives_way(router: Router[str]) -> None:
    found = router.find("POST", b"/processes/v3/apps/a/processes/latest/stop")
    assert isinstance(found, Match)
    assert found.route == "StopProcess"
    assert found.values["processId"] == "latest"


def test_an_encoded_slash_stays_in_its_segment(router: Router[str]) -> None:
    found = router.find("GET", b"/lobby/v3/app-1/info/shortcode/a%2Fb%20c%C3%A9")
    assert isinstance(found, Match)
    assert found.values == {"appId": "app-1", "shortCode": "a/b cé"}


def test_another_method_is_told_what_is_allowed(router: Router[str]) -> None:
    assert router.find("DELETE", b"/apps/v2/apps") == WrongMethod(("GET", "POST"))
    assert router.find("PUT", b"/apps/v2/apps/a") == WrongMethod(("DELETE", "GET", "PATCH", "POST"))


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"",
        b"/nothing",
        b"/apps/v2/apps/",
        b"/apps/v2/apps/a/b",
        b"/rooms/v2//create",
        b"//apps/v2/apps",
        b"/apps%2Fv2/apps",
        b"/" + b"a/" * 500,
    ],
)
def test_no_such_path(router: Router[str], path: bytes) -> None:
    assert router.find("GET", path) is None


@pytest.mark.parametrize("segment", [b"%ff", b"\xff", b"%00", b"\0"])
def test_what_no_store_can_hold_is_a_name_that_nothing_has(
    router: Router[str], segment: bytes
) -> None:
    """So each operation answers as it does for a name that is not there."""
    found = router.find("GET", b"/apps/v2/apps/" + segment)
    assert isinstance(found, Match)
    assert (found.route, found.values) == ("GetApp", {"appId": "\ufffd"})
    assert router.find("GET", b"/apps/v2/apps" + segment) is None


def test_a_path_is_given_out_once() -> None:
    router: Router[str] = Router()
    router.add("GET", "/a/{b}", "one")
    router.add("POST", "/a/{c}", "two")
    with pytest.raises(ValueError, match="taken"):
        router.add("GET", "/a/{d}", "three")
    assert router.find("POST", b"/a/x") == Match("two", {"c": "x"})
