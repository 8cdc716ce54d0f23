"""Players' logins over the wire, and whose token is taken (behaviour.md 7.1)."""

import base64
import json
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innkeeper.core.display_names import ADJECTIVES, ANIMALS, COLOURS
from innkeeper.core.errors import Unauthenticated, Unavailable
from innkeeper.core.players import GoogleIdentity

EVERY_LOGIN = {"anonymous": {}, "nickname": {}, "google": {"clientId": "the-client"}}
LOBBY = {"visibility": "local", "region": "Tokyo"}


@pytest.fixture
async def secret(shop: Any) -> str:
    """The app's secret; all its logins are on."""
    return await offer(shop, EVERY_LOGIN)


async def offer(shop: Any, logins: dict[str, Any]) -> str:
    reply = await shop.call("PatchApp", {"appId": shop.app}, body={"authConfiguration": logins})
    assert reply.status_code == 200
    return str(reply.json()["appSecret"])


async def login(shop: Any, kind: str, **sent: Any) -> Any:
    return await shop.call(f"Login{kind}", {"appId": shop.app}, **sent)


async def create_lobby(shop: Any, token: str | None, scheme: str = "Bearer ") -> Any:
    headers = {b"authorization": b"" if token is None else (scheme + token).encode()}
    return await shop.call("CreateLobby", {"appId": shop.app}, body=LOBBY, headers=headers)


async def test_an_anonymous_player_has_a_name_of_three_words(shop: Any, secret: str) -> None:
    tokens = [(await login(shop, "Anonymous")).json()["token"] for _ in range(20)]
    seen = [jwt.decode(token, secret, algorithms=["HS256"]) for token in tokens]
    assert jwt.get_unverified_header(tokens[0]) == {"alg": "HS256", "typ": "JWT"}
    assert len({claims["id"] for claims in seen}) == 20
    for claims in seen:
        assert claims.keys() == {"type", "id", "name", "iat"}
        assert claims["type"] == "anonymous"
        assert claims["iat"] == int(shop.studio.clock.now.timestamp())
        assert 11 <= len(claims["id"]) <= 13
        assert claims["id"].isalnum()
        assert claims["id"] == claims["id"].lower()
        first, second, third = claims["name"].split("-")
        assert first in ADJECTIVES
        assert second in COLOURS
        assert third in ANIMALS


async def test_two_players_may_share_a_nickname(shop: Any, secret: str) -> None:
    seen = []
    for _ in range(2):
        reply = await login(shop, "Nickname", body={"nickname": "Zoë ✨"})
        assert reply.status_code == 200
        seen.append(jwt.decode(reply.json()["token"], secret, algorithms=["HS256"]))
    assert [claims["name"] for claims in seen] == ["Zoë ✨"] * 2
    assert seen[0]["id"] != seen[1]["id"]
    assert seen[0]["type"] == "nickname"


@pytest.mark.parametrize("nickname", ["", "n" * 101, 5, None])
async def test_a_bad_nickname_is_422(shop: Any, secret: str, nickname: Any) -> None:
    reply = await login(shop, "Nickname", body={"nickname": nickname})
    assert reply.status_code == 422
    assert "body.nickname" in reply.json()["message"]
    assert (await login(shop, "Nickname", body={"nickname": "n" * 100})).status_code == 200


@pytest.mark.parametrize("kind", ["Anonymous", "Nickname", "Google"])
async def test_a_login_that_is_off_or_an_unknown_app_is_404(shop: Any, kind: str) -> None:
    sent = {"Nickname": {"nickname": "n"}, "Google": {"idToken": "t"}}.get(kind)
    more = {} if sent is None else {"body": sent}
    await offer(shop, {})
    assert (await login(shop, kind, **more)).status_code == 404
    assert (await shop.call(f"Login{kind}", {"appId": "nowhere"}, **more)).status_code == 404


async def test_a_deleted_app_has_no_logins(shop: Any, secret: str) -> None:
    token = (await login(shop, "Anonymous")).json()["token"]
    assert (await shop.call("DeleteApp", {"appId": shop.app})).status_code == 204
    assert (await login(shop, "Anonymous")).status_code == 404
    assert (await create_lobby(shop, token)).status_code == 404


class ToldGoogle:
    """Knows one token."""

    error: Exception | None = None

    async def identity(self, id_token: str, client_id: str, now: Any) -> GoogleIdentity:
        if self.error is not None:
            raise self.error
        assert (id_token, client_id) == ("good", "the-client")
        return GoogleIdentity("1234567890", "ann@example.org", None)


async def test_google_gives_the_same_player_each_time(shop: Any, secret: str) -> None:
    shop.house.services.google = google = ToldGoogle()
    for _ in range(2):
        token = (await login(shop, "Google", body={"idToken": "good"})).json()["token"]
        claims = jwt.decode(token, secret, algorithms=["HS256"])
        assert claims.keys() == {"type", "id", "email", "iat"}
        assert (claims["type"], claims["id"], claims["email"]) == (
            "google",
            "1234567890",
            "ann@example.org",
        )
        assert (await create_lobby(shop, token)).json()["createdBy"] == "1234567890"
    google.error = Unauthenticated("Invalid idToken")
    assert (await login(shop, "Google", body={"idToken": "bad"})).status_code == 401
    google.error = Unavailable("Google's keys cannot be fetched now")
    reply = await login(shop, "Google", body={"idToken": "good"})
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")


async def test_a_token_with_or_without_its_scheme(shop: Any, secret: str) -> None:
    token = (await login(shop, "Anonymous")).json()["token"]
    player = jwt.decode(token, secret, algorithms=["HS256"])["id"]
    for scheme in ("Bearer ", "bearer ", ""):
        reply = await create_lobby(shop, token, scheme)
        assert (reply.status_code, reply.json()["createdBy"]) == (201, player)


async def test_a_studio_may_sign_its_own_players(shop: Any, secret: str) -> None:
    now = int(shop.studio.clock.now.timestamp())
    for claims in (
        {"id": "steam:76561"},
        {"id": "x", "type": "steam", "aud": "game", "iss": "us", "sub": 5, "iat": now + 9999},
        {"id": "x", "exp": now + 1, "nbf": now},
        {"id": "x", "exp": now + 0.5},
    ):
        token = jwt.encode(claims, secret, algorithm="HS256")
        reply = await create_lobby(shop, token)
        assert (reply.status_code, reply.json()["createdBy"]) == (201, claims["id"])


BAD_CLAIMS: list[dict[str, Any]] = [
    {},
    {"id": 5},
    {"id": ""},
    {"id": None},
    {"id": "a\0b"},
    {"id": "\ud800"},
    {"id": "x" * 1001},
    {"sub": "x"},
    {"id": "x", "exp": 0},
    {"id": "x", "exp": "tomorrow"},
    {"id": "x", "exp": True},
    {"id": "x", "exp": float("nan")},
    {"id": "x", "nbf": 9e12},
    {"id": "x", "nbf": float("nan")},
    {"id": "x", "nbf": []},
]


@pytest.mark.parametrize("claims", BAD_CLAIMS, ids=repr)
async def test_tokens_out_of_time_or_without_an_id_are_401(
    shop: Any, secret: str, claims: Any
) -> None:
    reply = await create_lobby(shop, jwt.encode(claims, secret, algorithm="HS256"))
    assert reply.status_code == 401
    assert reply.json()["message"].startswith("Invalid token")


async def test_a_token_ends_with_its_exp(shop: Any, secret: str) -> None:
    now = shop.studio.clock.now.timestamp()
    token = jwt.encode({"id": "x", "exp": int(now) + 60}, secret, algorithm="HS256")
    assert (await create_lobby(shop, token)).status_code == 201
    shop.studio.clock.move(60)
    reply = await create_lobby(shop, token)
    assert (reply.status_code, reply.json()["message"]) == (401, "Invalid token: it has expired")


async def test_a_login_that_was_switched_off_leaves_no_way_in(shop: Any, secret: str) -> None:
    nickname = (await login(shop, "Nickname", body={"nickname": "n"})).json()["token"]
    anonymous = (await login(shop, "Anonymous")).json()["token"]
    own = jwt.encode({"id": "x", "type": "steam"}, secret, algorithm="HS256")
    await offer(shop, {"anonymous": {}})
    replies = [await create_lobby(shop, token) for token in (nickname, anonymous, own)]
    assert [reply.status_code for reply in replies] == [401, 201, 201]
    assert "nickname login is not enabled" in replies[0].json()["message"]


def unsigned(header: Any, claims: Any) -> str:
    parts = [json.dumps(part) if not isinstance(part, str) else part for part in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode() for part in parts) + "."


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
async def test_forged_tokens_are_401(shop: Any, secret: str) -> None:
    good = jwt.encode({"id": "x"}, secret, algorithm="HS256")
    head, body, signature = good.split(".")
    forged = [
        None,
        "",
        "x",
        "a.b.c",
        good[:-2],
        f"{head}.{body}.",
        f"{head}.{body}.{signature}.{signature}",
        jwt.encode({"id": "x"}, secret + "x", algorithm="HS256"),
        jwt.encode({"id": "x"}, secret, algorithm="HS384"),
        unsigned({"alg": "none", "typ": "JWT"}, {"id": "x"}),
        unsigned({"alg": "HS256"}, {"id": "x"}) + signature,
        unsigned("[" * 2500, "{}"),
        unsigned("\ud7ff", "{}"),
        "é" * 100,
        "hathora_org_st_x",
    ]
    for token in forged:
        reply = await create_lobby(shop, token)
        assert reply.status_code == 401, token


async def test_an_org_token_is_no_player_and_a_player_no_org(shop: Any, secret: str) -> None:
    assert (await shop.call("CreateLobby", {"appId": shop.app}, body=LOBBY)).status_code == 401
    token = (await login(shop, "Anonymous")).json()["token"]
    reply = await shop.call("GetApps", headers={"authorization": f"Bearer {token}"})
    assert reply.status_code == 401


async def test_a_token_of_another_app_is_401(shop: Any, secret: str) -> None:
    other = (
        await shop.call("CreateApp", body={"appName": "other", "authConfiguration": EVERY_LOGIN})
    ).json()
    token = (await shop.call("LoginAnonymous", {"appId": other["appId"]})).json()["token"]
    assert (await create_lobby(shop, token)).status_code == 401


async def test_who_calls_comes_before_what_is_asked(shop: Any, secret: str) -> None:
    values, bad = {"appId": shop.app}, {"visibility": "secret"}
    none = {"authorization": ""}
    reply = await shop.call("CreateLobby", values, body=bad, headers=none)
    assert reply.status_code == 401
    token = jwt.encode({"id": "x"}, secret, algorithm="HS256")
    headers = {"authorization": f"Bearer {token}"}
    reply = await shop.call("CreateLobby", {"appId": "nowhere"}, body=bad, headers=headers)
    assert reply.status_code == 404
    assert (await shop.call("CreateLobby", values, body=bad, headers=headers)).status_code == 422


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=200))
async def test_no_text_is_more_than_a_bad_token(shop: Any, text: str) -> None:
    for token in (text, f"{text}.{text}.{text}"):
        assert (await create_lobby(shop, token)).status_code == 401
