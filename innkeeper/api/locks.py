"""Which locks an operation's change needs, from what was asked: see ``Operation.locks``."""

from collections.abc import Collection
from typing import Any

from innkeeper.api.request import Request
from innkeeper.interfaces import LockKey, Policy
from innkeeper.usecases import locks
from innkeeper.usecases.lobbies import NewLobby, default_region
from innkeeper.usecases.rooms import NewRoom


def of_new_room(request: Request, wanted: NewRoom, policy: Policy) -> Collection[LockKey]:
    """Where a room is to be."""
    return ((wanted.app_id, wanted.region),)


def of_new_lobby(request: Request, wanted: NewLobby, policy: Policy) -> Collection[LockKey]:
    """Where a lobby's room is to be."""
    return ((request.path["appId"], wanted.region or default_region(policy)),)


def of_new_process(
    request: Request, wanted: tuple[str, str], policy: Policy
) -> Collection[LockKey]:
    """``wanted`` is (app id, region)."""
    return (wanted,)


def of_app(request: Request, wanted: Any, policy: Policy) -> Collection[LockKey]:
    """The whole of the app that the path names."""
    return locks.of_app(request.path["appId"], policy)
