"""Revision 0002: what was made before builds were counted gets its numbers (behaviour.md 1.2)."""

import sqlite3
from contextlib import closing
from pathlib import Path

from innkeeper.store import migrate as migrations

EARLIER = """
INSERT INTO orgs VALUES ('o', 'o', 8192, NULL, NULL, 0);
INSERT INTO apps (app_id, org_id, app_name, app_secret, auth_configuration, created_at, created_by)
VALUES ('a', 'o', 'a', 's', '{}', 0, 't'), ('b', 'o', 'b', 's', '{}', 0, 't'),
       ('c', 'o', 'c', 's', '{}', 0, 't');
INSERT INTO builds (build_key, build_id, org_id, kind, status, upload_size, created_at, created_by)
VALUES ('k1', 'b1', 'o', 'upload', 'succeeded', 1, 0, 't'),
       ('k2', 'b2', 'o', 'upload', 'succeeded', 1, 0, 't'),
       ('k3', 'b3', 'o', 'upload', 'created', 1, 0, 't');
INSERT INTO deployments (deployment_id, app_id, number, build_key, build_id, created_at, created_by,
                         cpu_millis, memory_mb, gpu, rooms_per_process, ports, env, idle_timeout_enabled)
VALUES ('d1', 'a', 1, 'k2', 'b2', 0, 't', 500, 512, 0, 1, '[]', '[]', 1),
       ('d2', 'a', 2, 'k1', 'b1', 0, 't', 500, 512, 0, 1, '[]', '[]', 1),
       ('d3', 'a', 3, 'k2', 'b2', 0, 't', 500, 512, 0, 1, '[]', '[]', 1),
       ('d4', 'b', 1, 'k1', 'b1', 0, 't', 500, 512, 0, 1, '[]', '[]', 1);
INSERT INTO processes (process_id, app_id, org_id, deployment_id, region, rooms_per_process,
                       cpu_millis, memory_mb, created_at, exposed_ports)
VALUES ('p', 'a', 'o', 'd3', 'Tokyo', 1, 500, 512, 0, '[]');
"""


def test_builds_are_counted_in_the_order_of_their_first_deployment(tmp_path: Path) -> None:
    path = tmp_path / "innkeeper.db"
    migrations._upgrade(path, "0001")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(EARLIER)
    migrations.migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        ask = connection.execute
        numbers = ask("SELECT app_id, number, build_key FROM app_build_numbers ORDER BY 1, 2")
        assert numbers.fetchall() == [("a", 1, "k2"), ("a", 2, "k1"), ("b", 1, "k1")]
        counted = ask("SELECT app_id, builds_numbered FROM apps ORDER BY app_id").fetchall()
        assert counted == [("a", 2), ("b", 1), ("c", 0)]
        assert ask("SELECT deployment_number FROM processes").fetchall() == [(3,)]
