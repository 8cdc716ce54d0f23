"""Records as a request makes them, for tests: give only what the test is about."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from innkeeper.core.processes import Process

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def new_process(created_at: datetime = NOON, **changes: Any) -> Process:
    """A process as CreateRoom leaves it: one room, four slots, not handed to the runtime yet."""
    fresh = Process(
        process_id="p",
        app_id="app",
        org_id="org",
        deployment_id="dep",
        deployment_number=1,
        region="Tokyo",
        rooms_per_process=4,
        rooms_allocated=1,
        cpu_millis=500,
        memory_mb=1024,
        created_at=created_at,
        scheduled_at=created_at,
        attempted_at=None,
        booted_at=None,
        started_at=None,
        stopping_at=None,
        term_sent_at=None,
        kill_sent_at=None,
        terminated_at=None,
        draining=False,
        failed=False,
        stop_reason=None,
        stop_grace_s=None,
        summary_exit_reason=None,
        exposed_ports=(),
        sandbox_id=None,
        initial_room_id=None,
        idle_since=None,
        removed=False,
    )
    return replace(fresh, **changes)
