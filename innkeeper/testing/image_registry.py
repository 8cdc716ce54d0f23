"""A tiny image registry on loopback: one image of one layer, behind a login. For tests of pulls."""

import base64
import gzip
import hashlib
import json
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOGIN = "player:s3cret-w0rd"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def machine() -> str:
    """This machine's architecture as images name it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """The image ``games/probe`` with tags ``latest`` (this machine's architecture) and ``alien``."""

    def __init__(self, layer_tar: bytes) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.requests: list[str] = []
        for tag, arch in (("latest", machine()), ("alien", "s390x")):
            self.manifests[tag] = self._image(layer_tar, arch)

    def _image(self, layer_tar: bytes, architecture: str) -> bytes:
        layer = gzip.compress(layer_tar, mtime=0)
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Entrypoint": ["/probe"]},
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer_tar)]},
                "history": [{"created_by": "test"}],
            }
        ).encode()
        parts = []
        for kind, blob in ((_CONFIG, config), (_LAYER, layer)):
            self.blobs[_digest(blob)] = blob
            parts.append({"mediaType": kind, "size": len(blob), "digest": _digest(blob)})
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST}
        return json.dumps({**manifest, "config": parts[0], "layers": parts[1:]}).encode()

    def answer(self, path: str, authorization: str | None) -> tuple[int, str, bytes]:
        self.requests.append(path)
        wanted = "Basic " + base64.b64encode(LOGIN.encode()).decode()
        if authorization != wanted:
            return 401, "application/json", b'{"errors":[{"code":"UNAUTHORIZED"}]}'
        if path == "/v2/":
            return 200, "application/json", b"{}"
        name = path.rpartition("/")[2]
        if path.startswith("/v2/games/probe/blobs/") and name in self.blobs:
            return 200, "application/octet-stream", self.blobs[name]
        by_digest = {_digest(m): m for m in self.manifests.values()}
        manifest = self.manifests.get(name) or by_digest.get(name)
        if path.startswith("/v2/games/probe/manifests/") and manifest is not None:
            return 200, _MANIFEST, manifest
        return 404, "application/json", b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'


@contextmanager
def serving(registry: Registry) -> Iterator[str]:
    """Serve it on a free loopback port; yields ``host:port``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = registry.answer(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="games"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            if kind == _MANIFEST:
                self.send_header("Docker-Content-Digest", _digest(body))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
