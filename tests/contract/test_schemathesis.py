"""Schemathesis asks every operation of the contract with good and bad data: no reply may leave the contract.

Each request is sent as it was made, and once more with things that are there named in its path and body.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok

from innkeeper.api import contract
from innkeeper.testing.contract_check import faults_of
from innkeeper.testing.studio import TOKEN

Case = schemathesis.Case[Any]
Headers = list[tuple[bytes, bytes]]
BASE = "http://api.test"
DECLARED = contract.load().operations
CONTRACT, EXTENSIONS = (
    json.loads(contract.document(n)) for n in ("openapi.json", "extensions.json")
)
SCHEMA = schemathesis.openapi.from_dict(CONTRACT)
NAMED = {kind: {**CONTRACT["components"][kind]} for kind in CONTRACT["components"]}
NAMED["schemas"] |= EXTENSIONS["components"]["schemas"]
OURS = schemathesis.openapi.from_dict(
    {**CONTRACT, "paths": EXTENSIONS["paths"], "components": NAMED}
)
BOUNDED = settings(
    deadline=None,
    max_examples=8,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


class Asked:
    """What one operation was asked, and how often it succeeded."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.operation_id = ""
        self.good = 0

    def ask(self, case: Case) -> None:
        """Both requests of a case. Raises ``AssertionError`` for a reply outside the contract."""
        self.operation_id = case.operation.definition.raw["operationId"]
        declared = DECLARED[self.operation_id]
        sent = requests.Request(**case.as_transport_kwargs(base_url=BASE)).prepare()
        url, body = urlsplit(str(sent.url)), _bytes(sent.body)
        query = f"?{url.query}" if url.query else ""
        headers = _headers(sent)
        asked_for, bad = case.method.upper(), _bad_parts(case)
        if ParameterLocation.HEADER not in bad:  # else the token itself may be what is bad
            headers = self._with_token(headers, declared.security)
        self._check(asked_for, url.path + query, headers, body, made_up=True)
        path, headers = self._known_path(declared), self._with_token(headers, declared.security)
        bad_body = ParameterLocation.BODY in bad and (body or not _body_is_optional(declared))
        known = body if bad_body else self._known_body(body)
        status = self._check(asked_for, path + query, headers, known, made_up=False)
        # Elsewhere the made-up data may be good enough: what the contract does not name is ignored.
        assert status >= 400 or not bad_body, f"{asked_for} {path} takes {body[:500]!r}"

    def _check(
        self, method: str, target: str, headers: Headers, body: bytes, *, made_up: bool
    ) -> int:
        self.world.rewind()
        declared = DECLARED[self.operation_id]
        answer = self.world.ask(method, target.encode(), headers, body)
        status: int = answer.status
        told = bytes(answer.body)
        asked = f"{method} {target} {body[:500]!r}: {status} {told[:500]!r}"
        assert status < 500, asked
        if declared.extension and not declared.errors:
            return status  # a link of ours: its refusals are XML or a page, as its caller expects
        if method != declared.method or (made_up and status == 404):
            # Another operation's answer, or no path at all: an ApiError it must be all the same.
            assert status < 300 or json.loads(told)["message"], asked
            return status
        faults = faults_of(self.operation_id, status, answer.headers, told)
        assert not faults, f"{asked}: {'; '.join(faults)}"
        self.good += status == declared.status
        return status

    def _with_token(self, headers: Headers, security: str) -> Headers:
        token = TOKEN
        if security == "player":
            token = self.world.player_token
        elif self.operation_id in ("AcceptInvite", "RejectInvite"):
            token = self.world.user_token
        others = [each for each in headers if each[0] != b"authorization"]
        return [*others, (b"authorization", f"Bearer {token}".encode())]

    def _known_path(self, declared: contract.Declaration) -> str:
        world = self.world
        known = dict(world.known)
        if any(p.kind == "integer" for p in declared.parameters if p.place == "path"):
            known |= world.numbers
        known |= world.other.get(self.operation_id, {})
        return declared.path.format(**{n: quote(known[n], safe="") for n in declared.path_names})

    def _known_body(self, body: bytes) -> bytes:
        try:
            value = json.loads(body)
        except ValueError:
            return body
        if not isinstance(value, dict):
            return body
        fields = {**self.world.fields, **self.world.other.get(self.operation_id, {})}
        return json.dumps(value | {n: fields[n] for n in value.keys() & fields.keys()}).encode()


def _headers(sent: requests.PreparedRequest) -> Headers:
    given = [(name.lower().encode(), _bytes(value)) for name, value in sent.headers.items()]
    return [each for each in given if each[0] != b"content-length"]


def _bad_parts(case: Case) -> set[ParameterLocation]:
    """Which parts of a request were made to break the contract."""
    assert case.meta is not None
    return {place for place, part in case.meta.components.items() if part.mode.is_negative}


def _body_is_optional(declared: contract.Declaration) -> bool:
    return declared.body is None or not declared.body.required


def _bytes(text: Any) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text or b"")


@pytest.fixture
def asked(world: Any) -> Iterator[Asked]:
    made = Asked(world)
    yield made
    # Else all that was asked would be how it refuses. Drawn anew, it may be: eight draws are few.
    assert made.good or not settings().derandomize, f"{made.operation_id} never succeeded"


@SCHEMA.parametrize()
@BOUNDED
def test_no_reply_leaves_the_contract(case: Case, asked: Asked) -> None:
    asked.ask(case)


@OURS.parametrize()
@BOUNDED
def test_no_reply_of_our_own_operations_does(case: Case, world: Any) -> None:
    Asked(world).ask(case)


def test_every_operation_is_asked() -> None:
    wanted = {name for name, declared in DECLARED.items() if not declared.extension}
    found = [each.ok() for each in SCHEMA.get_all_operations() if isinstance(each, Ok)]
    assert {each.definition.raw["operationId"] for each in found} == wanted
    assert len(found) == 134


def test_what_is_served_is_the_contract(world: Any) -> None:
    answer = world.ask("GET", b"/openapi.json", [], b"")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert bytes(answer.body) == contract.document("openapi.json")
