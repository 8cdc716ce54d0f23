"""All rows of all families: what the API serves. A new family is one import and one line here."""

from innkeeper.api import (
    app_builds,
    apps,
    billing,
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
    usage,
    users,
)
from innkeeper.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *app_builds.OPERATIONS,
    *apps.OPERATIONS,
    *billing.OPERATIONS,
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
    *usage.OPERATIONS,
    *users.OPERATIONS,
)
