"""Out-of-memory kills as the kernel's log has them: some engines miss them (Podman 4.3, cgroup v1).

The log is a ring in the kernel, so a kill is still told after a control plane was away for a while.
"""

import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

_KMSG = "/dev/kmsg"
_RECORD_BYTES_MAX = 8192
_RECORDS_MAX = 200_000  # more than the ring can hold
# "3,812,1249329587,-;oom-kill:constraint=CONSTRAINT_MEMCG,...,task_memcg=/x/libpod-<id>,task=game,pid=7"
_KILL = re.compile(
    rb"\d+,\d+,(\d+),[^;]*;oom-kill:constraint=CONSTRAINT_MEMCG,.*?task_memcg=([^,]*),"
)
_JUST_BEFORE = timedelta(seconds=5)


def memory_kills(path: str = _KMSG) -> dict[str, list[datetime]]:
    """Control group path -> when something in it was killed for memory.

    Empty where we may not read the log. Blocks for a few milliseconds.
    """
    kills: dict[str, list[datetime]] = {}
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return kills
    booted = datetime.now(UTC) - timedelta(seconds=time.monotonic())
    try:
        for _ in range(_RECORDS_MAX):
            try:
                record = os.read(descriptor, _RECORD_BYTES_MAX)
            except BlockingIOError:
                break  # the end of the log for now
            except BrokenPipeError:
                continue  # the ring went round while we read; the next read goes on at its new start
            if not record:
                break
            found = _KILL.match(record)
            if found:
                at = booted + timedelta(microseconds=int(found[1]))
                kills.setdefault(found[2].decode("utf-8", "replace"), []).append(at)
    finally:
        os.close(descriptor)
    return kills


def was_killed(
    container_id: str, ended_at: datetime, kills: Mapping[str, Sequence[datetime]]
) -> bool:
    """Whether something in the container was killed for memory just before the container's end."""
    return any(
        container_id in group and any(abs(ended_at - at) <= _JUST_BEFORE for at in moments)
        for group, moments in kills.items()
    )
