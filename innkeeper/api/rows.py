"""All rows of all families: what the API serves. A new family is one import and one line here."""

from innkeeper.api import (
    app_builds,
    apps,
    builds,
    deployments,
    discovery,
    lobbies,
    logs,
    management,
    organizations,
    players,
    process_details,
    processes,
    rooms,
    tokens,
    uploads,
    users,
)
from innkeeper.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *app_builds.OPERATIONS,
    *apps.OPERATIONS,
    *builds.OPERATIONS,
    *deployments.OPERATIONS,
    *discovery.OPERATIONS,
    *lobbies.OPERATIONS,
    *logs.OPERATIONS,
    *management.OPERATIONS,
    *organizations.OPERATIONS,
    *process_details.OPERATIONS,
    *players.OPERATIONS,
    *processes.OPERATIONS,
    *rooms.OPERATIONS,
    *tokens.OPERATIONS,
    *uploads.OPERATIONS,
    *users.OPERATIONS,
)
