"""While the store is away every operation says so, and when to come back: 503 with Retry-After."""

from typing import Any

from innkeeper.core.errors import Unavailable
from tests.api.test_scopes_matrix import ADMIN, NO_TOKEN, PLAYERS, WITH_ORG_TOKEN, Matrix, matrix

__all__ = ["matrix"]
# What is sent to it here is no form, which is told without a look at what is stored.
WITHOUT_STORE = {"PostBuildArchive"}


class Away:
    """A store whose PostgreSQL has been stopped."""

    async def write(self, *_: object) -> Any:
        raise Unavailable("PostgreSQL is shutting down")

    async def read(self, *_: object) -> Any:
        raise Unavailable("PostgreSQL is shutting down")


async def test_a_store_that_is_away_is_told_with_when_to_come_back(matrix: Matrix) -> None:
    ours = matrix.ours
    services: Any = matrix.shop.house.services
    asked = [(name, ADMIN) for name in WITH_ORG_TOKEN]
    asked += [(name, ours.player_token()) for name in PLAYERS]
    asked += [(name, None) for name in NO_TOKEN]
    services.store = Away()
    wrong, served = [], []
    for name, token in asked:
        reply = await matrix.ask(name, token, ours.ids)
        if reply.status_code != 503:
            (served if token is None and reply.status_code < 500 else wrong).append(name)
        elif not reply.headers.get("retry-after", "").isdigit():
            wrong.append(name)
    assert not wrong
    assert set(served) == WITHOUT_STORE
