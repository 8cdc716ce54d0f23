"""An issuer of id tokens on loopback, in Google's place: serves its keys, and signs what it is told."""

import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

KEY_ID = "key-of-the-tests"
CLIENT_ID = "client-of-the-game.example"


class LocalIssuer:
    """Use in a ``with`` block. ``settings`` are the ``INNKEEPER_…`` variables that make a server trust it."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        keys = {"keys": [{**public, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(json.dumps(keys).encode()))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def settings(self) -> Mapping[str, str]:
        """What a server needs to know."""
        return {
            "INNKEEPER_GOOGLE_JWKS": f"{self.url}/certs",
            "INNKEEPER_GOOGLE_ISSUER": self.url,
        }

    def id_token(self, **claims: Any) -> str:
        """A good token but for ``claims``, where ``None`` leaves one out."""
        now = int(time.time())
        whole = {"iss": self.url, "aud": CLIENT_ID, "sub": "1", "iat": now, "exp": now + 600}
        told = {name: value for name, value in {**whole, **claims}.items() if value is not None}
        return jwt.encode(told, self._key, algorithm="RS256", headers={"kid": KEY_ID})

    def __enter__(self) -> "LocalIssuer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(body: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
