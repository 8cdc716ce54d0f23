"""Static allocation, warm pools, and rooms that wait."""

import json

from innkeeper.store.migrate import run_script

revision = "0010"
down_revision = "0009"

# What ``maxProcesses: null`` meant when this revision was made.
_PROCESSES_MAX = 1000


def upgrade() -> None:
    """Run the script of this revision, and act on what apps have asked for before."""
    from alembic import op
    from sqlalchemy import text

    run_script("0010_allocation.sql")
    connection = op.get_bind()
    asked = connection.exec_driver_sql(
        "SELECT app_id, service_config FROM apps WHERE deleted_at IS NULL AND service_config IS NOT NULL"
    ).fetchall()
    insert = text(
        "INSERT INTO static_allocations (app_id, region, min_processes, target_processes,"
        " max_processes, requests_per_process) VALUES (:app_id, :region, :least, :target, :most, :load)"
    )
    for app_id, stored in asked:
        config = json.loads(stored)
        scaler = config.get("processAutoscalerConfig")
        for entry in config["staticProcessAllocation"]:
            load = scaler["targetMetric"]["metricValue"] if scaler else 0
            scaled = bool(entry.get("autoscalingEnabled")) and load > 0
            least, most = entry["minProcesses"], entry["maxProcesses"]
            values = {
                "app_id": app_id,
                "region": entry["region"],
                "least": least,
                "target": least if scaled else entry.get("targetProcesses", least),
                "most": _PROCESSES_MAX if most is None else most,
                "load": load if scaled else None,
            }
            connection.execute(insert, values)
