"""All rows of all families: what the API serves. A new family is one import and one line here."""

from innkeeper.api import (
    apps,
    builds,
    deployments,
    discovery,
    logs,
    organizations,
    processes,
    rooms,
    tokens,
    uploads,
)
from innkeeper.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *apps.OPERATIONS,
    *builds.OPERATIONS,
    *deployments.OPERATIONS,
    *discovery.OPERATIONS,
    *logs.OPERATIONS,
    *organizations.OPERATIONS,
    *processes.OPERATIONS,
    *rooms.OPERATIONS,
    *tokens.OPERATIONS,
    *uploads.OPERATIONS,
)
