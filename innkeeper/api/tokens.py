"""TokensV1, and how often a token may call: shapes first, rows last (behaviour.md 7.3)."""

from typing import Literal

from msgspec import UNSET

from innkeeper.api import wire_generated as wire
from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.core.accounts import OrgToken
from innkeeper.usecases import tokens
from innkeeper.usecases.tokens import MadeToken, NewToken, TokenRate


def read_new_token(request: Request) -> NewToken:
    """What CreateOrgToken is asked for; scopes that are absent are an admin's."""
    body: wire.CreateOrgToken = request.body
    scopes = None if body.scopes is UNSET or isinstance(body.scopes, str) else tuple(body.scopes)
    return NewToken(org_id=request.path["orgId"], name=body.name, scopes=scopes)


def read_org_id(request: Request) -> str:
    """The org of the path."""
    org_id: str = request.path["orgId"]
    return org_id


def read_token_id(request: Request) -> tuple[str, str]:
    """(org id, token id)."""
    return request.path["orgId"], request.path["orgTokenId"]


def read_rate(request: Request) -> TokenRate:
    """What SetOrgTokenLimit is asked for."""
    body: wire.InnkeeperNewTokenLimit = request.body
    return TokenRate(request.path["orgTokenId"], body.callsPerSecond)


def write_rate(token: OrgToken) -> wire.InnkeeperTokenLimit:
    """A token's limit, as it is now."""
    return wire.InnkeeperTokenLimit(
        orgTokenId=token.org_token_id, callsPerSecond=token.calls_per_second
    )


def write_token(token: OrgToken) -> wire.OrgToken:
    """A token, without its text."""
    scopes: list[str] | Literal["admin"] = "admin" if token.scopes is None else list(token.scopes)
    return wire.OrgToken(
        orgTokenId=token.org_token_id,
        orgId=token.org_id,
        name=token.name,
        scopes=scopes,
        status=token.status,
        lastFourCharsOfKey=token.last_four,
        createdAt=token.created_at,
        createdBy=token.created_by,
    )


def write_made(made: MadeToken) -> wire.CreatedOrgToken:
    """A new token with its text, for the only time."""
    return wire.CreatedOrgToken(plainTextToken=made.plain_text, orgToken=write_token(made.token))


def write_list(listed: list[OrgToken]) -> wire.ListOrgTokens:
    """The org's tokens."""
    return wire.ListOrgTokens(tokens=[write_token(token) for token in listed])


def write_revoked(_: None) -> bool:
    """Revoked, now or before."""
    return True


_READ, _WRITE = "tokens:read", "tokens:read-write"

OPERATIONS = (
    Operation("CreateOrgToken", read_new_token, tokens.create_token, write_made, scope=_WRITE),
    Operation("GetOrgTokens", read_org_id, tokens.list_tokens, write_list, "read", _READ),
    Operation("RevokeOrgToken", read_token_id, tokens.revoke_token, write_revoked, scope=_WRITE),
    Operation("SetOrgTokenLimit", read_rate, tokens.limit_token, write_rate, scope=_WRITE),
)
