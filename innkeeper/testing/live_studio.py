"""A studio that works with a live Innkeeper through the official SDK: builds, deploys, opens rooms.

Uploads go the way the official command line sends them: parts by PUT without a token, then the XML list.
"""

import gzip
import io
import itertools
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from innkeeper.testing.live import LiveServer, eventually
from innkeeper.testing.official_sdk import Sdk, SdkError

Json = dict[str, Any]
START_TIMEOUT_S = 20.0
PART_HEADERS = {"Content-Type": "application/octet-stream"}
DONE_HEADERS = {"Content-Type": "application/xml"}
_numbers = itertools.count(1)


def archive(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A ``.tar.gz`` of executable files, and of symbolic links where given."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return packed.getvalue()


def zipped(raw: bytes) -> bytes:
    """``raw`` as gzip."""
    return gzip.compress(raw, 1)


@dataclass
class LiveStudio:
    """One SDK client of one live Innkeeper."""

    sdk: Sdk
    server: LiveServer
    apps: list[str] = field(default_factory=list)

    def app(self, **config: Any) -> str:
        """A new app; its id. It goes with :meth:`close`."""
        name = config.pop("appName", f"game-{next(_numbers)}")
        made = self.sdk("appsV2.createApp", {"appName": name, "authConfiguration": {}, **config})
        self.apps.append(made["appId"])
        return cast(str, made["appId"])

    def upload(self, content: bytes, **params: Any) -> Json:
        """A new build with its archive sent, not run yet."""
        size = {"buildSizeInBytes": len(content)}
        build = cast(Json, self.sdk("buildsV3.createBuild", {**size, **params}))
        assert self.send(build, content).status_code == 200
        return build

    def send(self, build: Json, content: bytes) -> httpx.Response:
        """Send every part, then the list of their ETags; the answer to the list."""
        chunk = int(build["maxChunkSize"])
        tags = []
        with httpx.Client(timeout=30, trust_env=False) as http:
            for part in build["uploadParts"]:
                first = (part["partNumber"] - 1) * chunk
                body = content[first : first + chunk]
                sent = http.put(part["putRequestUrl"], content=body, headers=PART_HEADERS)
                assert sent.status_code == 200, sent.text
                tags.append((part["partNumber"], sent.headers["etag"]))
            listed = completion(tags)
            url = build["completeUploadPostRequestUrl"]
            return http.post(url, content=listed, headers=DONE_HEADERS)

    def build(self, content: bytes, **params: Any) -> Json:
        """A build that was uploaded and run, whatever came of it."""
        build_id = self.upload(content, **params)["buildId"]
        log = self.sdk("buildsV3.runBuild", build_id)
        return {**self.sdk("buildsV3.getBuild", build_id), "log": log}

    def deploy(self, app_id: str, build_id: str, **config: Any) -> Json:
        """A deployment: UDP on 7777 and an additional port ``tcp`` unless told otherwise.

        ``env`` is a mapping of names to values.
        """
        env = [{"name": k, "value": str(v)} for k, v in config.pop("env", {}).items()]
        wanted = {
            "buildId": build_id,
            "requestedCPU": 0.25,
            "requestedMemoryMB": 512,
            "roomsPerProcess": 1,
            "containerPort": 7777,
            "transportType": "udp",
            "additionalContainerPorts": [{"name": "tcp", "port": 7777, "transportType": "tcp"}],
            "env": env,
            "idleTimeoutEnabled": False,
            **config,
        }
        return cast(Json, self.sdk("deploymentsV3.createDeployment", wanted, app_id))

    def room(self, app_id: str, room_id: str | None = None, **params: Any) -> Json:
        """A new room, as it is answered."""
        wanted = {"region": "Seattle", **params}
        return cast(Json, self.sdk("roomsV2.createRoom", wanted, app_id, room_id))

    def active(self, app_id: str, room_id: str, timeout_s: float = START_TIMEOUT_S) -> Json:
        """The room's connection info once it is active."""

        def probe() -> Json | None:
            info = cast(Json, self.sdk("roomsV2.getConnectionInfo", room_id, app_id))
            return info if info["status"] == "active" else None

        return eventually(probe, timeout_s, f"room {room_id} is active")

    def process(self, app_id: str, process_id: str) -> Json:
        """A process, now."""
        return cast(Json, self.sdk("processesV3.getProcess", process_id, app_id))

    def reaches(
        self, app_id: str, process_id: str, *statuses: str, timeout_s: float = START_TIMEOUT_S
    ) -> Json:
        """The process once it has one of ``statuses``."""

        def probe() -> Json | None:
            process = self.process(app_id, process_id)
            return process if process["status"] in statuses else None

        return eventually(probe, timeout_s, f"process {process_id} is {' or '.join(statuses)}")

    def logs(self, app_id: str, process_id: str, tail: int = 5000) -> list[str]:
        """The lines that the process has printed so far."""
        text = self.sdk("logsV1.getLogsForProcess", process_id, app_id, False, tail)
        return cast(str, text).splitlines()

    def close(self) -> None:
        """Delete the apps that this studio made; their processes stop."""
        for app_id in self.apps:
            try:
                self.sdk("appsV2.deleteApp", app_id)
            except SdkError as error:
                # A test may have deleted its app itself.
                if error.status != 404:
                    raise


@dataclass
class ScopedClients:
    """Clients whose tokens hold just the scopes that a test names."""

    admin: LiveStudio
    org_id: str
    token_ids: list[str] = field(default_factory=list)

    def __call__(self, *scopes: str) -> Sdk:
        """A client of a new token."""
        wanted = {"name": f"scoped-{next(_numbers)}", "scopes": list(scopes)}
        made = self.admin.sdk("tokensV1.createOrgToken", self.org_id, wanted)
        self.token_ids.append(made["orgToken"]["orgTokenId"])
        return self.admin.sdk.bridge.client(
            serverURL=self.admin.server.url, hathoraDevToken=made["plainTextToken"]
        )

    def revoke(self) -> None:
        """Revoke what was made."""
        for token_id in self.token_ids:
            self.admin.sdk("tokensV1.revokeOrgToken", self.org_id, token_id)


def completion(tags: list[tuple[int, str]]) -> bytes:
    """The XML that ends an upload, laid out as the official command line writes it."""
    parts = "".join(
        f"\n  <Part>\n    <PartNumber>{number}</PartNumber>\n    <ETag>{tag}</ETag>\n  </Part>"
        for number, tag in tags
    )
    return f"<CompleteMultipartUpload>{parts}\n</CompleteMultipartUpload>".encode()
