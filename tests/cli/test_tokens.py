"""``innkeeper token-limit``, against a stub of the API."""

import pytest

from tests.cli.conftest import StubApi

PATH = "POST /innkeeper/v1/tokens/org-token-1/limit"


@pytest.mark.parametrize(
    ("given", "sent", "said"),
    [
        ("25", 25, "25 times in a second"),
        ("off", 0, "without a limit"),
        ("0", 0, "without a limit"),
        ("default", None, "as the installation's setting says"),
    ],
)
def test_a_token_is_limited(stub: StubApi, given: str, sent: int | None, said: str) -> None:
    stub.on(PATH, {"orgTokenId": "org-token-1", "callsPerSecond": sent})
    result = stub.run("token-limit", "org-token-1", given)
    assert (result.exit_code, result.stdout) == (0, f"token org-token-1 may call {said}\n")
    assert stub.bodies(PATH) == [{"callsPerSecond": sent}]


@pytest.mark.parametrize("given", ["", "none", "1.5", "1e3", "9" * 10, "٣"])
def test_what_is_no_rate_is_not_sent(stub: StubApi, given: str) -> None:
    result = stub.run("token-limit", "org-token-1", given)
    assert result.exit_code == 2
    assert "is not a number of calls, off or default" in result.stderr
    assert not stub.asked


def test_a_rate_that_the_api_refuses_is_told(stub: StubApi) -> None:
    stub.on(PATH, {"message": "Validation failed: body.callsPerSecond must be"}, 422)
    result = stub.run("token-limit", "org-token-1", "2000000")
    assert result.exit_code == 1
    assert "body.callsPerSecond must be [422]" in result.stderr
