"""AuthV1: every login, by meaning (behaviour.md 7.1). Tokens are verified as game servers verify them."""

import re
from typing import Any

import jwt
import pytest

from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.local_issuer import CLIENT_ID, LocalIssuer
from innkeeper.testing.official_sdk import Sdk, refused

LOGINS = {"anonymous": {}, "nickname": {}, "google": {"clientId": CLIENT_ID}}
LOBBY = {"visibility": "local", "region": "Seattle"}


@pytest.fixture
def app_id(studio: LiveStudio) -> str:
    return studio.app(authConfiguration=LOGINS)


def claims_of(studio: LiveStudio, app_id: str, login: Any) -> dict[str, Any]:
    """What a game server reads with a stock library and HATHORA_APP_SECRET."""
    secret = studio.sdk("appsV2.getApp", app_id)["appSecret"]
    claims: dict[str, Any] = jwt.decode(login["token"], secret, algorithms=["HS256"])
    return claims


def test_anonymous(studio: LiveStudio, anyone: Sdk, app_id: str) -> None:
    seen = []
    for _ in range(2):
        login, (reply,) = anyone.answered("authV1.loginAnonymous", app_id)
        assert (reply.status, reply.authorized) == (200, False)
        seen.append(claims_of(studio, app_id, login))
    for claims in seen:
        assert claims["type"] == "anonymous"
        assert re.fullmatch("[0-9a-z]{11,13}", claims["id"])
        assert re.fullmatch("[a-z]+-[a-z]+-[a-z]+", claims["name"])
        assert "exp" not in claims
    assert seen[0]["id"] != seen[1]["id"]


def test_nickname(studio: LiveStudio, anyone: Sdk, app_id: str) -> None:
    login = anyone("authV1.loginNickname", {"nickname": "Ann O'Nym"}, app_id)
    claims = claims_of(studio, app_id, login)
    assert (claims["type"], claims["name"]) == ("nickname", "Ann O'Nym")
    assert claims["id"] != "Ann O'Nym"
    for nickname in ("", "n" * 101):
        with refused(422, "nickname"):
            anyone("authV1.loginNickname", {"nickname": nickname}, app_id)


def test_google(studio: LiveStudio, anyone: Sdk, app_id: str, issuer: LocalIssuer) -> None:
    token = issuer.id_token(
        sub="10769150350006150715113082367", email="ann@example.org", name="Ann"
    )
    for _ in range(2):
        login = anyone("authV1.loginGoogle", {"idToken": token}, app_id)
        claims = claims_of(studio, app_id, login)
        assert claims["type"] == "google"
        assert claims["id"] == "10769150350006150715113082367"
        assert (claims["email"], claims["name"]) == ("ann@example.org", "Ann")
    made = anyone("lobbiesV3.createLobby", {"playerAuth": login["token"]}, LOBBY, app_id)
    assert made["createdBy"] == claims["id"]
    with LocalIssuer() as stranger:
        for bad in (
            issuer.id_token(aud="another-game"),
            issuer.id_token(exp=1),
            issuer.id_token(iss="https://accounts.example"),
            stranger.id_token(iss=issuer.url),
            token[:-4],
            "no token",
        ):
            with refused(401, "Invalid"):
                anyone("authV1.loginGoogle", {"idToken": bad}, app_id)


def test_logins_are_switched_for_each_app(studio: LiveStudio, anyone: Sdk, app_id: str) -> None:
    login = anyone("authV1.loginNickname", {"nickname": "n"}, app_id)
    studio.sdk("appsV2.patchApp", {"authConfiguration": {"anonymous": {}}}, app_id)
    anyone("authV1.loginAnonymous", app_id)
    with refused(404, "nickname"):
        anyone("authV1.loginNickname", {"nickname": "n"}, app_id)
    with refused(404, "google"):
        anyone("authV1.loginGoogle", {"idToken": "t"}, app_id)
    # Who has logged in that way is out too.
    with refused(401, "nickname"):
        anyone("lobbiesV3.createLobby", {"playerAuth": login["token"]}, LOBBY, app_id)
    for call, *params in (
        ("authV1.loginAnonymous",),
        ("authV1.loginNickname", {"nickname": "n"}),
        ("authV1.loginGoogle", {"idToken": "t"}),
    ):
        with refused(404, "app-of-nobody"):
            anyone(call, *params, "app-of-nobody")


def test_a_studios_own_tokens(studio: LiveStudio, anyone: Sdk, app_id: str) -> None:
    secret = studio.sdk("appsV2.getApp", app_id)["appSecret"]

    def create(**claims: Any) -> Any:
        token = jwt.encode(claims, secret, algorithm="HS256")
        return anyone("lobbiesV3.createLobby", {"playerAuth": token}, LOBBY, app_id)

    assert create(id="steam:7656119")["createdBy"] == "steam:7656119"
    assert create(id="a", type="steam", exp=4_000_000_000)["createdBy"] == "a"
    with refused(401, "expired"):
        create(id="a", exp=1_000_000_000)
    with refused(401, "not valid yet"):
        create(id="a", nbf=4_000_000_000)
    with refused(401, "string id"):
        create(id=5)
    with refused(401):
        token = jwt.encode({"id": "a"}, secret + "?", algorithm="HS256")
        anyone("lobbiesV3.createLobby", {"playerAuth": token}, LOBBY, app_id)
