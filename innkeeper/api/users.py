"""Users and their tokens, beyond the contract: shapes first, rows last (behaviour.md 7.2)."""

from msgspec import UNSET

from innkeeper.api import wire_generated as wire
from innkeeper.api.apps import read_nothing
from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.core.people import UserRecord, UserToken
from innkeeper.usecases import users
from innkeeper.usecases.users import MadeUserToken, NewUser


def read_new_user(request: Request) -> NewUser:
    """What CreateUser is asked for."""
    body: wire.InnkeeperNewUser = request.body
    return NewUser(body.userEmail, None if body.orgName is UNSET else body.orgName)


def read_email(request: Request) -> str:
    """The address of the path."""
    email: str = request.path["userEmail"]
    return email


def read_token_id(request: Request) -> tuple[str, str]:
    """(address, token id)."""
    return request.path["userEmail"], request.path["userTokenId"]


def write_user(user: UserRecord) -> wire.InnkeeperUser:
    """A user, with the tokens where they are asked for."""
    return wire.InnkeeperUser(
        userId=user.user_id,
        userEmail=user.email,
        createdAt=user.created_at,
        createdBy=user.created_by,
        tokens=[write_token(token) for token in user.tokens],
    )


def write_users(listed: list[UserRecord]) -> wire.InnkeeperUsersPage:
    """The users."""
    return wire.InnkeeperUsersPage(users=[write_user(user) for user in listed])


def write_token(token: UserToken) -> wire.InnkeeperUserToken:
    """A user's token, without its text."""
    return wire.InnkeeperUserToken(
        userTokenId=token.user_token_id,
        lastFourCharsOfKey=token.last_four,
        status=token.status,
        createdAt=token.created_at,
        createdBy=token.created_by,
    )


def write_made(made: MadeUserToken) -> wire.InnkeeperCreatedUserToken:
    """A new token with its text, for the only time."""
    return wire.InnkeeperCreatedUserToken(
        plainTextToken=made.plain_text, userToken=write_token(made.token)
    )


_READ, _WRITE = "orgs:read", "orgs:read-write"

OPERATIONS = (
    Operation("CreateUser", read_new_user, users.create_user, write_user, scope=_WRITE),
    Operation("GetUsers", read_nothing, users.list_users, write_users, "read", _READ),
    Operation("GetUser", read_email, users.get_user, write_user, "read", _READ),
    Operation("CreateUserToken", read_email, users.create_user_token, write_made, scope=_WRITE),
    Operation("RevokeUserToken", read_token_id, users.revoke_user_token, write_token, scope=_WRITE),
)
