"""``innkeeper user``, against a stub of the API."""

from tests.cli.conftest import StubApi

USERS = "/innkeeper/v1/users"
ADA = {
    "userId": "user-1",
    "userEmail": "ada@b.example",
    "createdAt": "2026-01-31T12:00:00.000Z",
    "createdBy": "org-token-1",
    "tokens": [],
}
TOKEN = {
    "userTokenId": "user-token-1",
    "lastFourCharsOfKey": "beef",
    "status": "active",
    "createdAt": "2026-01-31T12:00:00.000Z",
    "createdBy": "org-token-1",
}
MADE = {"plainTextToken": "innkeeper_user_x_beef", "userToken": TOKEN}


def test_a_new_user_gets_a_token_that_can_be_piped(stub: StubApi) -> None:
    stub.on(f"POST {USERS}", ADA, 201)
    stub.on(f"POST {USERS}/ada%40b.example/tokens", MADE, 201)
    result = stub.run("user", "create", "ada@b.example")
    assert result.exit_code == 0, result.output
    assert result.stdout == "innkeeper_user_x_beef\n"
    assert "user-1" in result.stderr
    stub.run("user", "create", "ada@b.example", "--org", "Ada's")
    assert stub.bodies(f"POST {USERS}") == [
        {"userEmail": "ada@b.example"},
        {"userEmail": "ada@b.example", "orgName": "Ada's"},
    ]


def test_users_and_their_tokens_are_listed_and_revoked(stub: StubApi) -> None:
    stub.on(f"GET {USERS}", {"users": [ADA]})
    stub.on(f"GET {USERS}/ada%40b.example", {**ADA, "tokens": [TOKEN]})
    stub.on(f"POST {USERS}/ada%40b.example/tokens/user-token-1/revoke", TOKEN)
    stub.on(f"POST {USERS}/ada%40b.example/tokens", MADE, 201)
    assert "ada@b.example" in stub.run("user", "list").stdout
    assert "beef" in stub.run("user", "tokens", "ada@b.example").stdout
    assert stub.run("user", "revoke", "ada@b.example", "user-token-1").exit_code == 0
    assert stub.run("user", "token", "ada@b.example").stdout == "innkeeper_user_x_beef\n"


def test_what_the_api_refuses_is_told(stub: StubApi) -> None:
    stub.on(f"POST {USERS}", {"message": "Validation failed: body.userEmail is taken"}, 422)
    result = stub.run("user", "create", "ada@b.example")
    assert result.exit_code == 1
    assert "is taken [422]" in result.stderr
