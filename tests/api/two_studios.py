"""Two organizations in one installation, each with one of everything, and requests with least bodies."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import jwt

from innkeeper.api import contract
from innkeeper.core.accounts import Caller
from innkeeper.core.players import Player
from innkeeper.testing.studio import Studio
from innkeeper.usecases import (
    apps,
    billing,
    callers,
    fleets,
    lobbies,
    members,
    processes,
    tokens,
    users,
    webhooks,
)
from innkeeper.usecases.metered_months import add_to_month
from innkeeper.usecases.tokens import NewToken

DECLARED = contract.load().operations

BOSS = "ben@other.example"  # the admin of the other organization

# Values that a body needs and its schema does not tell.
FIELDS: dict[str, Any] = {
    "region": "Tokyo",
    "buildSizeInBytes": 10,
    "requestedCPU": 0.25,
    "requestedMemoryMB": 512,
    "roomsPerProcess": 1,
    "containerPort": 7777,
    "transportType": "udp",
    "scaleUpThreshold": 85,
    "nodeShapeId": "shape-amd64-4-8",
    "nodeShape": "cpu-4-8",
    "cloudMinVcpus": 0,
    "nodeBaseline": 0,
    "planName": "tiny",
    "visibility": "local",
    "userEmail": "guest@studio.example",
    "scopes": [],
    "env": [],
    "callsPerSecond": 0,
    "returnUrl": "https://studio.example/",
    "url": "https://studio.example/events",
}
# Left out, these would ask for an admin.
GIVEN = {"scopes"}


@dataclass
class Holding:
    """What one organization has: ids by the names that paths give them."""

    studio: Studio
    ids: dict[str, str] = field(default_factory=dict)

    def player_token(self, **claims: Any) -> str:
        assert self.studio.app is not None
        return jwt.encode({"id": "player-1", **claims}, self.studio.app.app_secret, "HS256")


@dataclass
class Requests:
    """Makes the smallest valid request of an operation; each name that must be new is."""

    made: int = 0

    def body(self, operation_id: str, ids: dict[str, str]) -> Any:
        declared = DECLARED[operation_id].body
        if declared is None or declared.kind != "json":
            return None
        return self._value("", declared.schema, ids)

    def _value(self, name: str, schema: Any, ids: dict[str, str]) -> Any:
        schema = contract.load().resolve(schema)
        if name in FIELDS:
            return FIELDS[name]
        if name in ids:
            return ids[name]
        kind = schema.get("type")
        if kind == "object":
            return {
                field: self._value(field, schema["properties"][field], ids)
                for field in schema["properties"]
                if field in schema.get("required", ()) or field in GIVEN
            }
        if kind == "array":
            return []
        if kind == "string":
            self.made += 1
            return f"new-{self.made}"
        return {"boolean": False, "integer": 0, "number": 0}.get(kind, {})


class TalkativeLogs:
    """Every process said one thing."""

    async def stream(self, process_id: str, tail: int | None, follow: bool) -> AsyncIterator[bytes]:
        yield b"a line\n"


async def open_two(shop: Any) -> tuple[Holding, Holding]:
    """The installation's own organization and another, each an admin of its own."""
    shop.house.services.logs = TalkativeLogs()
    ours: Studio = shop.studio
    await ours.ask(users.create_user, users.NewUser(BOSS, "Other"))
    made = await ours.ask(users.create_user_token, BOSS)
    boss: Caller = await ours.store.read(lambda tx: callers.identify(tx, made.plain_text))
    theirs = Studio(ours.store, ours.clock, ours.ids, ours.policy, ours.machine, boss)
    first, second = await _furnish(ours, "ours"), await _furnish(theirs, "theirs")
    for holding, email in ((first, "ada@ours.example"), (second, BOSS)):
        if holding is first:
            await ours.ask(users.create_user, users.NewUser(email))
        token = (await ours.ask(users.create_user_token, email)).token
        holding.ids |= {"userEmail": email, "userTokenId": token.user_token_id}
    return first, second


async def _furnish(studio: Studio, name: str) -> Holding:
    org_id = studio.caller.org_id
    logins = {"anonymous": {}, "nickname": {}}
    studio.app = await studio.ask(apps.create_app, apps.NewApp(name, logins))
    deployment = await studio.deploy(rooms_per_process=10)
    process = await studio.ask(processes.create_process, (studio.app_id, "Tokyo"))
    code = f"code-of-{name}"
    wanted = lobbies.NewLobby("private", "Tokyo", short_code=code)
    player, context = Player(studio.app_id, org_id, "player-1"), studio.context()
    lobby = await studio.store.write(lambda tx: lobbies.create_lobby(tx, player, wanted, context))
    fleet = await studio.ask(fleets.create_fleet, fleets.NewFleet(name, "cpu-4-8", 85, ""))
    token = await studio.ask(tokens.create_token, NewToken(org_id, name, None))
    await studio.ask(members.invite, members.Invitation(org_id, f"a@{name}.example", "viewer"))
    wanted_hook = webhooks.NewWebhook("https://studio.example/events", None, None)
    hook = await studio.ask(webhooks.create_webhook, wanted_hook)
    node = (await studio.ask(fleets.list_nodes, (fleet.fleet_id, None)))[0]
    ids = {
        "orgId": org_id,
        "appId": studio.app_id,
        "buildId": deployment.build_id,
        "deploymentId": deployment.deployment_id,
        "processId": process.process_id,
        "roomId": lobby.room_id,
        "fleetId": fleet.fleet_id,
        "orgTokenId": token.token.org_token_id,
        "nodeId": node.node_id,
        "invoiceId": await _invoice(studio),
        "shortCode": code,
        "webhookId": hook[0].webhook.webhook_id,
    }
    return Holding(studio, ids)


async def _invoice(studio: Studio) -> str:
    """The invoice of a month that is over."""
    org_id, context = studio.caller.org_id, studio.context()

    def close(tx: Any) -> None:
        add_to_month(tx, org_id, studio.app_id, 202512, egress_bytes=10**9)
        billing.close_months(tx, org_id, context)

    await studio.store.write(close)
    (invoice,) = await studio.ask(billing.list_invoices, None)
    return str(invoice.invoice_id)
