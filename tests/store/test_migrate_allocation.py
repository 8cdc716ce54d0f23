"""Revision 0010: what apps asked for before is acted on, and processes know what they were made for."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from innkeeper.store import migrate as migrations

STATIC = {
    "staticProcessAllocation": [
        {"region": "Tokyo", "minProcesses": 1, "targetProcesses": 2, "maxProcesses": None},
        {
            "region": "London",
            "minProcesses": 1,
            "maxProcesses": 9,
            "autoscalingEnabled": True,
        },
    ],
    "processAutoscalerConfig": {
        "targetMetric": {"metricName": "concurrent-requests", "metricValue": 2.5}
    },
}
EARLIER = """
INSERT INTO orgs (org_id, name, max_requested_memory_mb, created_at) VALUES ('o', 'o', 8192, 0);
INSERT INTO apps (app_id, org_id, app_name, app_secret, auth_configuration, service_config, created_at,
                  created_by, deleted_at)
VALUES ('a', 'o', 'a', 's', '{}', :config, 0, 'x', NULL),
       ('gone', 'o', 'gone', 's', '{}', :config, 0, 'x', 5),
       ('plain', 'o', 'plain', 's', '{}', NULL, 0, 'x', NULL);
"""
PROCESSES = """
INSERT INTO builds (build_key, build_id, org_id, kind, status, upload_size, created_at, created_by)
VALUES ('b', 'b', 'o', 'upload', 'succeeded', 0, 0, 'x');
INSERT INTO deployments (deployment_id, app_id, number, build_key, build_id, created_at, created_by,
    cpu_millis, memory_mb, gpu, rooms_per_process, ports, env, idle_timeout_enabled)
VALUES ('d', 'a', 1, 'b', 'b', 0, 'x', 500, 512, 0, 1, '[]', '[]', 1);
INSERT INTO processes (process_id, app_id, org_id, deployment_id, region, rooms_per_process, cpu_millis,
    memory_mb, created_at, exposed_ports, initial_room_id, deployment_number)
VALUES ('p', 'a', 'o', 'd', 'Tokyo', 1, 500, 512, 0, '[]', 'r', 1),
       ('q', 'a', 'o', 'd', 'Tokyo', 1, 500, 512, 0, '[]', NULL, 1);
"""


def test_what_was_stored_is_acted_on(tmp_path: Path) -> None:
    path = tmp_path / "innkeeper.db"
    migrations._upgrade(path, "0009")
    with closing(sqlite3.connect(path)) as connection:
        orgs, made_apps = EARLIER.split(";\n")[:2]
        connection.execute(orgs)
        connection.execute(made_apps, {"config": json.dumps(STATIC)})
        connection.executescript(PROCESSES)
        connection.commit()
    migrations.migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT * FROM static_allocations ORDER BY region").fetchall()
        assert found == [("a", "London", 1, 1, 9, 2.5), ("a", "Tokyo", 1, 2, 1000, None)]
        made = connection.execute("SELECT process_id, made_for FROM processes ORDER BY 1")
        assert made.fetchall() == [("p", "room"), ("q", "request")]
