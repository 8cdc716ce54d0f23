"""Revision 0007: tokens that were made before go on without a limit of their own."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from innkeeper.store import migrate as migrations

EARLIER = """
INSERT INTO orgs (org_id, name, max_requested_memory_mb, created_at) VALUES ('o', 'o', 8192, 0);
INSERT INTO org_tokens (org_token_id, org_id, name, token_hash, last_four, status, created_by, created_at)
VALUES ('t', 'o', 'ci', 'h', 'beef', 'active', 'innkeeper', 0);
"""


def test_earlier_tokens_follow_the_setting_and_can_get_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "innkeeper.db"
    migrations._upgrade(path, "0006")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(EARLIER)
    migrations.migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        ask = connection.execute
        found = ask("SELECT name, calls_per_second FROM org_tokens").fetchall()
        assert found == [("ci", None)]
        for rate in (0, 1_000_000, None):
            ask("UPDATE org_tokens SET calls_per_second = ?", (rate,))
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            ask("UPDATE org_tokens SET calls_per_second = -1")
