"""A small studio with one of everything, over the real rows, put back before each request."""

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from prometheus_client import CollectorRegistry

from innkeeper.api import contract
from innkeeper.api.framework import Application
from innkeeper.api.rows import OPERATIONS
from innkeeper.api.services import Services
from innkeeper.api.stream_bounds import EventStreams
from innkeeper.core.errors import Unauthenticated
from innkeeper.core.ids import Ids
from innkeeper.core.players import GoogleIdentity
from innkeeper.core.processes import Exit
from innkeeper.interfaces import BuiltImage, LogSource
from innkeeper.reconciler.build_runner import SerialBuildRunner
from innkeeper.runtime.fake import FakeRuntime
from innkeeper.telemetry.logs import ProcessLogs
from innkeeper.telemetry.uploads import UploadsOnDisk
from innkeeper.testing.inline_store import InlineStore
from innkeeper.testing.studio import TOKEN, Studio
from innkeeper.usecases import lifecycle

INVITED = "ada@studio.example"
AUTH = {"anonymous": {}, "nickname": {}, "google": {"clientId": "client-of-google"}}
DEPLOYMENT = {
    "requestedCPU": 0.5,
    "requestedMemoryMB": 512,
    "roomsPerProcess": 10,
    "containerPort": 7777,
    "transportType": "udp",
    "env": [{"name": "MODE", "value": "duel"}],
    "idleTimeoutEnabled": True,
}
# What only this machine, or a rule beside the contract's, decides.
FIELDS = {
    "region": "Tokyo",
    "name": "a-new-name",
    "requestedCPU": 0.5,
    "requestedMemoryMB": 512,
    "buildSizeInBytes": 1000,
    "autoscalerConfig": {"scaleUpThreshold": 85},
    "image": "registry.test/game:1",
    "idToken": "an-id-token",
    "returnUrl": "https://studio.example/billing",
    "url": "https://studio.example/events",
}
LOOKS_AFTER_MAX = 1000


class RewoundStore(InlineStore):
    """A store that can be put back to how it was when it was kept."""

    def __init__(self, path: Path) -> None:
        self._changed = True
        super().__init__(path, self._struck)
        self._kept = sqlite3.connect(":memory:", isolation_level=None)

    def _struck(self, place: str) -> None:
        self._changed = True

    def keep(self) -> None:
        """From now on, :meth:`rewind` leads back here."""
        self._connection.backup(self._kept)

    def rewind(self) -> None:
        """As it was kept."""
        if self._changed:
            self._kept.backup(self._connection)
            self._changed = False

    async def close(self) -> None:
        self._kept.close()
        await super().close()


class EasyBuilder:
    """Every build succeeds."""

    async def build(self, build_key: str, archive: Path, log: Callable[[str], None]) -> BuiltImage:
        log("built")
        return BuiltImage(f"image-{build_key}", 4711)

    async def pull(
        self, build_key: str, image: str, url: str | None, auth: str | None, log: Any
    ) -> BuiltImage:
        log("pulled")
        return BuiltImage(f"image-{build_key}", 42)

    async def discard(self, build_key: str) -> None:
        """Nothing is kept of a build."""

    async def delete(self, image_ref: str) -> None:
        """No image was made."""


class OneOfGoogle:
    """One id token is good."""

    async def identity(self, id_token: str, client_id: str, now: datetime) -> GoogleIdentity:
        if id_token != FIELDS["idToken"]:
            raise Unauthenticated("The id token was not signed by Google")
        return GoogleIdentity("subject-1", None, None)


@dataclass(slots=True)
class Answer:
    """A whole answer, or what came of one before the client left."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


@dataclass
class World:
    """One of everything; ``known`` are its ids by the contract's names, ``numbers`` those of V1 and V2, and
    ``other`` what an operation takes in place of them. ``fields`` are values of bodies that are good here.
    """

    studio: Studio
    store: RewoundStore
    services: Services
    runner: SerialBuildRunner
    application: Application
    loop: asyncio.Runner
    known: dict[str, str] = field(default_factory=dict)
    player_token: str = ""
    user_token: str = ""
    numbers: dict[str, str] = field(default_factory=lambda: {"buildId": "1", "deploymentId": "1"})
    other: dict[str, dict[str, str]] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    def rewind(self) -> None:
        """Store, clock and chance as they were when the world was made."""
        self.store.rewind()
        self.services.ids = Ids(random.Random(2).getrandbits)

    def ask(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Answer:
        """One request. The client of an answer that does not end by itself leaves after a while."""
        return self.loop.run(self._asked(method, target, headers, body))

    async def _asked(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Answer:
        raw_path, _, query = target.partition(b"?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": raw_path.decode("latin-1"),
            "raw_path": raw_path,
            "query_string": query,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
            "client": ("127.0.0.1", 40_000),
            "server": ("127.0.0.1", 8000),
        }
        received = iter([{"type": "http.request", "body": body}])
        answer = Answer()

        async def receive() -> Any:
            message = next(received, None)
            if message is None:
                for _ in range(LOOKS_AFTER_MAX):
                    await asyncio.sleep(0)
                return {"type": "http.disconnect"}
            return message

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode(): v.decode("latin-1") for k, v in message["headers"]}
            answer.body += message.get("body", b"")

        await self.application(scope, receive, send)
        await self.runner.settled()
        return answer


async def _opened(loop: asyncio.Runner, place: Path) -> World:
    store = RewoundStore(place / "innkeeper.sqlite")
    studio = await Studio(store).open()
    uploads = UploadsOnDisk(place / "uploads")
    runner = SerialBuildRunner(store, EasyBuilder(), uploads, studio.clock, place / "builds")
    runtime = FakeRuntime(studio.clock)

    async def no_source(process_id: str) -> LogSource | None:
        return await runtime.log_source(process_id)

    async def ready() -> str | None:
        return None

    services = Services(
        store=store,
        clock=studio.clock,
        ids=studio.ids,
        policy=studio.policy,
        build_runner=runner,
        uploads=uploads,
        logs=ProcessLogs(place / "logs", no_source, clock=studio.clock),
        google=OneOfGoogle(),
        wake=lambda key: None,
        ready=ready,
        registry=CollectorRegistry(),
        event_streams=EventStreams(quiet_s=0.001, life_s=0),  # they end: answers are awaited
    )
    await runner.open()
    return World(studio, store, services, runner, Application(services, OPERATIONS), loop)


class Furnisher:
    """Makes one of everything, mostly through the operations themselves."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known = world.known
        self.operations = contract.load().operations

    def call(self, operation_id: str, body: Any = None, token: str = TOKEN, query: str = "") -> Any:
        """A successful answer's value."""
        declared = self.operations[operation_id]
        target = declared.path.format(**self.known) + query
        headers = [(b"authorization", f"Bearer {token}".encode())]
        sent = b"" if body is None else json.dumps(body).encode()
        answer = self.world.ask(declared.method, target.encode(), headers, sent)
        assert answer.status == declared.status, (operation_id, answer)
        return json.loads(answer.body) if declared.media_type == "application/json" else None

    def furnish(self) -> None:
        """Fill ``known``; the kinds stand in the order in which one needs another."""
        known = self.known
        known["region"] = "Tokyo"
        app = self.call("CreateApp", {"appName": "furnished", "authConfiguration": AUTH})
        known["appId"], known["orgId"] = app["appId"], app["orgId"]
        claims = {"id": "player-1", "type": "anonymous"}
        self.world.player_token = jwt.encode(claims, app["appSecret"], algorithm="HS256")
        known["buildId"] = self.call("CreateBuildRegistry", {})["buildId"]
        self.call("RunBuildRegistry", {"image": "registry.test/game:1"})
        deployment = self.call("CreateDeployment", {**DEPLOYMENT, "buildId": known["buildId"]})
        known["deploymentId"] = deployment["deploymentId"]
        self.unrun_builds()
        self.call("CreateRoom", {"region": "Tokyo", "roomConfig": "{}"}, query="?roomId=room-1")
        known["roomId"] = "room-1"
        self.process()
        self.lobby()
        token = self.call("CreateOrgToken", {"name": "furniture"})
        known["orgTokenId"] = token["orgToken"]["orgTokenId"]
        self.people()
        hook = self.call("CreateWebhook", {"url": FIELDS["url"]})
        known["webhookId"] = hook["webhook"]["webhookId"]
        known["fleetId"] = self.call("GetFleets")["fleets"][0]["fleetId"]
        known["nodeId"] = self.call("ListProvisionedNodes")[0]["nodeId"]
        shape = self.call("GetNodeShapes")[0]["nodeShapeId"]
        names = ("buildId", "deploymentId", "userEmail", "fleetId")
        self.world.fields = FIELDS | {"nodeShapeId": shape} | {name: known[name] for name in names}

    def lobby(self) -> None:
        """A public one, known by its short code too."""
        lobby = {"visibility": "public", "region": "Tokyo", "roomConfig": "{}"}
        query = "?shortCode=CODE&roomId=lobby-1"
        self.call("CreateLobby", lobby, self.world.player_token, query)
        self.known["shortCode"] = "CODE"
        for operation_id in ("GetLobbyInfo", "GetLobbyInfoByRoomId", "SetLobbyState"):
            self.world.other[operation_id] = {"roomId": "lobby-1"}

    def people(self) -> None:
        """Two users: one was invited and has a token, the other may be."""
        for email in (INVITED, "grace@studio.example"):
            self.call("CreateUser", {"userEmail": email})
            self.known["userEmail"] = email
        self.call("InviteUser", {"userEmail": INVITED})
        self.known["userEmail"] = INVITED
        self.world.user_token = self.call("CreateUserToken")["plainTextToken"]
        self.known["userTokenId"] = self.call("GetUser")["tokens"][0]["userTokenId"]
        self.known["invoiceId"] = "no-invoice"
        self.world.other["InviteUser"] = {"userEmail": "grace@studio.example"}

    def unrun_builds(self) -> None:
        """What the operations that run a build, or take its archive, need."""
        old = self.call("CreateBuildDeprecated", {"buildTag": "old"})["buildId"]
        new = self.call("CreateBuildRegistry", {})["buildId"]
        for operation_id, build_id in (
            ("RunBuildDeprecated", old),
            ("RunBuildV2Deprecated", old),
            ("RunBuildRegistry", new),
        ):
            self.world.other[operation_id] = {"buildId": str(build_id)}
        self.world.other["RunBuild"] = {"buildId": self.uploaded_build()}

    def uploaded_build(self) -> str:
        """A build whose archive has come, through the links it was given."""
        build = self.call("CreateBuild", {"buildSizeInBytes": 1})
        part, done = build["uploadParts"][0]["putRequestUrl"], build["completeUploadPostRequestUrl"]
        self.known["buildKey"], self.known["partNumber"] = urlsplit(part).path.split("/")[4::2]
        put = self.world.ask("PUT", _target(part), [], b"x")
        assert put.status == 200, put
        etag = put.headers["etag"]
        listed = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>"
        assert self.world.ask("POST", _target(done), [], body.encode()).status == 200
        return str(build["buildId"])

    def process(self) -> None:
        """A process that runs, and one that has ended."""
        running, ended = (self.call("CreateProcess")["processId"] for _ in range(2))
        studio = self.world.studio

        def live(tx: Any) -> None:
            for process_id in (running, ended):
                for record in (lifecycle.record_attempt, lifecycle.record_booted):
                    record(tx, process_id, studio.clock.now)
                deployment_id = self.known["deploymentId"]
                lifecycle.record_started(tx, process_id, deployment_id, studio.clock.now)
            exit_ = Exit(0, None, False, studio.clock.now)
            lifecycle.record_terminated(tx, ended, exit_, studio.context())

        self.world.loop.run(self.world.store.write(live))
        self.known["processId"] = running
        self.world.other["DownloadLogForProcess"] = {"processId": ended}


def _target(link: str) -> bytes:
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}".encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with asyncio.Runner() as loop:
        made = loop.run(_opened(loop, tmp_path_factory.mktemp("world")))
        Furnisher(made).furnish()
        made.store.keep()
        yield made
        loop.run(made.runner.close())
        loop.run(made.store.close())
