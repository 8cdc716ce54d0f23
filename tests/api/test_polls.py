"""Players poll: a poll of a starting room writes nothing, and is one read that indexes answer."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from innkeeper.store.queries import QUERIES

pytestmark = pytest.mark.sqlite


async def test_a_poll_of_a_starting_room_is_one_read_and_no_write(shop: Any) -> None:
    await shop.studio.deploy()
    where = {"appId": shop.app}
    made = await shop.call("CreateRoom", where, json={"region": "Tokyo"})
    where["roomId"] = made.json()["roomId"]
    store = shop.studio.store
    asked: list[str] = []
    store._reader.set_trace_callback(asked.append)
    commits = store.commits
    for operation in ("GetConnectionInfo", "GetConnectionInfoDeprecated"):
        asked.clear()
        assert (await shop.call(operation, where)).json()["status"] == "starting"
        statements = [text.split(None, 1)[0] for text in asked]
        assert statements == ["BEGIN", "SELECT", "COMMIT"]
    store._reader.set_trace_callback(None)
    assert store.commits == commits


@pytest.mark.parametrize("query", ["rooms.connection", "rooms.state"])
async def test_indexes_alone_answer_it(shop: Any, query: str) -> None:
    asked = QUERIES[query]
    given = dict.fromkeys(asked.params, "x")
    with closing(sqlite3.connect(shop.studio.store.path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {asked.sql}", given).fetchall()
    steps = [row[3] for row in plan]
    assert steps
    assert all(step.startswith("SEARCH") and " USING " in step for step in steps), steps
