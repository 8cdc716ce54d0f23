"""An app whose lobbies a player makes, over the wire."""

from dataclasses import dataclass
from typing import Any

import jwt
import pytest


@dataclass
class Lobbies:
    """A shop with a deployed app, and a player of it."""

    shop: Any
    secret: str
    player: str = "player-1"

    async def ask(self, operation_id: str, *path: str, body: Any = None, **query: str) -> Any:
        """As the player, or as the game server where the operation is its."""
        names = ("roomId" if "RoomId" in operation_id or operation_id == "GetLobbyInfo" else "x",)
        if operation_id == "SetLobbyState":
            names = ("roomId",)
        if operation_id == "GetLobbyInfoByShortCode":
            names = ("shortCode",)
        values = {"appId": self.shop.app, **dict(zip(names, path, strict=False))}
        sent: dict[str, Any] = {"params": query}
        if body is not None:
            sent["body"] = body
        if operation_id.startswith("Create"):
            token = jwt.encode({"id": self.player}, self.secret, algorithm="HS256")
            sent["headers"] = {"authorization": f"Bearer {token}"}
        return await self.shop.call(operation_id, values, **sent)

    async def v3(self, visibility: str = "public", region: str = "Tokyo", **query: str) -> Any:
        body = {"visibility": visibility, "region": region, "roomConfig": query.pop("config", "c")}
        reply = await self.ask("CreateLobby", body=body, **query)
        assert reply.status_code == 201, reply.text
        return reply.json()

    async def v2(self, visibility: str = "public", **more: Any) -> Any:
        body = {"visibility": visibility, "region": "Tokyo", **more}
        reply = await self.ask("CreateLobbyDeprecated", body=body)
        assert reply.status_code == 201, reply.text
        return reply.json()

    async def listed(self, operation_id: str = "ListActivePublicLobbies", **query: str) -> Any:
        reply = await self.ask(operation_id, **query)
        assert reply.status_code == 200
        return [lobby["roomId"] for lobby in reply.json()]


@pytest.fixture
async def hall(shop: Any) -> Lobbies:
    studio = shop.studio
    await studio.deploy(rooms_per_process=100)
    return Lobbies(shop, studio.app.app_secret)
