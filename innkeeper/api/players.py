"""AuthV1: players' logins. Shapes first, rows last (behaviour.md 7.1)."""

from innkeeper.api import wire_generated as wire
from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.api.services import Services
from innkeeper.interfaces import Context
from innkeeper.usecases import players


def read_app_id(request: Request) -> str:
    """The app's id."""
    return str(request.path["appId"])


def read_nickname(request: Request) -> tuple[str, str]:
    """(app id, nickname)."""
    return request.path["appId"], request.body.nickname


def read_id_token(request: Request) -> tuple[str, str]:
    """(app id, Google's id token)."""
    return request.path["appId"], request.body.idToken


async def run_google(
    services: Services, caller: None, wanted: tuple[str, str], context: Context
) -> str:
    """The player whom Google's token names."""
    app_id, id_token = wanted
    login = await services.store.read(lambda tx: players.google_login(tx, app_id))
    identity = await services.google.identity(id_token, login.client_id, context.now)
    return players.google_token(login.app, identity, context)


def write_token(token: str) -> wire.PlayerTokenObject:
    """A player's token."""
    return wire.PlayerTokenObject(token=token)


OPERATIONS = (
    Operation("LoginAnonymous", read_app_id, players.login_anonymous, write_token, "read"),
    Operation("LoginNickname", read_nickname, players.login_nickname, write_token, "read"),
    Operation("LoginGoogle", read_id_token, run_google, write_token, "async"),
)
