"""TokensV1, OrganizationsV1 and DiscoveryV2 on the wire (behaviour.md 7.3, 8.2, 8.5)."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from innkeeper.api import discovery
from innkeeper.api.discovery import MESSAGE_BYTES_MAX, Echo
from innkeeper.core.accounts import SCOPES
from innkeeper.core.catalog import REGIONS


async def test_a_token_from_its_making_to_its_end(shop: Any) -> None:
    at = {"orgId": shop.studio.caller.org_id}
    made = await shop.call("CreateOrgToken", at, body={"name": "ci", "scopes": ["builds:read"]})
    assert made.status_code == 201
    token, text = made.json()["orgToken"], made.json()["plainTextToken"]
    assert token["scopes"] == ["builds:read"]
    assert token["lastFourCharsOfKey"] == text[-4:]
    header = {"authorization": text}
    assert (await shop.call("GetBuilds", headers=header)).status_code == 200
    assert (await shop.call("GetApps", headers=header)).status_code == 401
    listed = (await shop.call("GetOrgTokens", at)).json()["tokens"]
    assert token in listed
    assert text not in str(listed)
    one = {**at, "orgTokenId": token["orgTokenId"]}
    for _ in range(2):
        revoked = await shop.call("RevokeOrgToken", one)
        assert (revoked.status_code, revoked.json()) == (200, True)
    assert (await shop.call("GetBuilds", headers=header)).status_code == 401
    listed = (await shop.call("GetOrgTokens", at)).json()["tokens"]
    assert {**token, "status": "revoked"} in listed


async def test_absent_scopes_and_admin_are_the_same(shop: Any) -> None:
    at = {"orgId": shop.studio.caller.org_id}
    for name, body in (("a", {}), ("b", {"scopes": "admin"})):
        made = await shop.call("CreateOrgToken", at, body={"name": name, **body})
        assert made.json()["orgToken"]["scopes"] == "admin"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"name": ""}, 422),
        ({"name": "x" * 65}, 422),
        ({"name": "taken"}, 422),
        ({"name": "a", "scopes": ["everything"]}, 422),
        ({"name": "a", "scopes": "viewer"}, 422),
    ],
)
async def test_a_bad_token_is_refused(shop: Any, body: dict[str, Any], status: int) -> None:
    at = {"orgId": shop.studio.caller.org_id}
    await shop.call("CreateOrgToken", at, body={"name": "taken"})
    assert (await shop.call("CreateOrgToken", at, body=body)).status_code == status


async def test_nobody_grants_more_than_they_hold(shop: Any) -> None:
    at = {"orgId": shop.studio.caller.org_id}
    scopes = ["tokens:read-write", "builds:read"]
    made = await shop.call("CreateOrgToken", at, body={"name": "few", "scopes": scopes})
    header = {"authorization": f"Bearer {made.json()['plainTextToken']}"}
    for body in ({"name": "a"}, {"name": "b", "scopes": ["builds:read-write"]}):
        refused = await shop.call("CreateOrgToken", at, body=body, headers=header)
        assert refused.status_code == 401
        assert refused.json()["message"].startswith("Missing scope: ")
    given = {"name": "c", "scopes": ["tokens:read"]}
    assert (await shop.call("CreateOrgToken", at, body=given, headers=header)).status_code == 201


async def test_another_orgs_tokens_and_unknown_ones_are_404(shop: Any) -> None:
    other, own = {"orgId": "org-other"}, {"orgId": shop.studio.caller.org_id}
    assert (await shop.call("GetOrgTokens", other)).status_code == 404
    assert (await shop.call("CreateOrgToken", other, body={"name": "a"})).status_code == 404
    for at in (other, own):
        at = {**at, "orgTokenId": "org-token-none"}
        assert (await shop.call("RevokeOrgToken", at)).status_code == 404


async def test_the_org_is_the_tokens_with_its_scopes(shop: Any) -> None:
    (org,) = (await shop.call("GetOrgs")).json()["orgs"]
    assert org["orgId"] == shop.studio.caller.org_id
    assert org["scopes"] == list(SCOPES)
    assert (org["isSingleTenant"], org["stripeCustomerId"]) == (True, "")
    assert org["maxRequestedMemoryMB"] == 8192


async def test_every_region_is_this_api(shop: Any) -> None:
    shop.house.services.policy = replace(shop.house.services.policy, regions=REGIONS)
    places = (await shop.call("GetPingServiceEndpoints", headers={"authorization": ""})).json()
    assert [place["region"] for place in places] == list(REGIONS)
    assert {(place["host"], place["port"]) for place in places} == {("play.test", 80)}
    for url, port in (("https://api.example", 443), ("http://api.example:8080/", 8080)):
        shop.house.services.policy = replace(shop.house.services.policy, public_url=url)
        places = (await shop.call("GetPingServiceEndpoints")).json()
        assert {(place["host"], place["port"]) for place in places} == {("api.example", port)}


class Socket:
    """A client's side of a WebSocket, as ASGI messages."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.incoming = [{"type": "websocket.connect"}, *messages]
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if not self.incoming:
            await asyncio.Event().wait()
        return self.incoming.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))


async def test_the_echo_keeps_text_text_and_binary_binary() -> None:
    socket = Socket(
        {"type": "websocket.receive", "text": "h\u00e9"},
        {"type": "websocket.receive", "bytes": b"\x00\xff", "text": None},
        {"type": "websocket.receive", "text": ""},
        {"type": "websocket.disconnect"},
    )
    await Echo()({}, socket.receive, socket.send)
    assert socket.sent == [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "text": "h\u00e9"},
        {"type": "websocket.send", "bytes": b"\x00\xff"},
        {"type": "websocket.send", "text": ""},
    ]


async def test_the_echo_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    large = {"type": "websocket.receive", "bytes": b"x" * (MESSAGE_BYTES_MAX + 1)}
    socket = Socket(large)
    await Echo()({}, socket.receive, socket.send)
    assert socket.sent[-1] == {"type": "websocket.close", "code": 1009}
    quiet = Socket()
    await Echo(limit_s=0.01)({}, quiet.receive, quiet.send)
    assert quiet.sent[-1] == {"type": "websocket.close", "code": 1000}
    full = Socket()
    await Echo(sockets_max=0)({}, full.receive, full.send)
    assert full.sent[-1] == {"type": "websocket.close", "code": 1013}
    monkeypatch.setattr(discovery, "MESSAGES_MAX", 2)
    busy = Socket(*({"type": "websocket.receive", "text": "a"} for _ in range(5)))
    await Echo()({}, busy.receive, busy.send)
    assert [message["type"] for message in busy.sent[1:]] == [
        "websocket.send",
        "websocket.send",
        "websocket.close",
    ]
