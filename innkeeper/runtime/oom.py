"""Out-of-memory kills as the kernel's log has them: some engines miss them (Podman 4.3 with cgroup v1).

The log is a ring in the kernel, so a kill is still told after a control plane was away for a while.
"""

import os
import re

_KMSG = "/dev/kmsg"
_RECORD_BYTES_MAX = 8192
_RECORDS_MAX = 200_000  # more than the ring can hold
# "oom-kill:constraint=CONSTRAINT_MEMCG,...,task_memcg=/libpod_parent/libpod-<id>,task=game,pid=7,uid=0"
_KILL = re.compile(rb"oom-kill:constraint=CONSTRAINT_MEMCG,.*?task_memcg=([^,]*),.*?pid=(\d+)")


def memory_kills(path: str = _KMSG) -> dict[str, set[int]]:
    """Control group path -> the pids killed in it for memory. Empty where we may not read the log."""
    kills: dict[str, set[int]] = {}
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return kills
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
            found = _KILL.search(record)
            if found:
                group = found[1].decode("utf-8", "replace")
                kills.setdefault(group, set()).add(int(found[2]))
    finally:
        os.close(descriptor)
    return kills


def was_killed(container_id: str, kills: dict[str, set[int]], pid: int | None = None) -> bool:
    """Whether a container's first process (``pid``, or any if it is not known) was killed for memory."""
    return any(
        container_id in group and (pid is None or pid in pids) for group, pids in kills.items()
    )
