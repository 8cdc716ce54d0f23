"""LogsV1, and two routes that clients called before it: shapes first, rows last (behaviour.md 8.3)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from innkeeper.api.operation import Operation, Stream
from innkeeper.api.request import Request
from innkeeper.api.services import Services
from innkeeper.core.accounts import Caller
from innkeeper.interfaces import Context
from innkeeper.usecases import logs


@dataclass(frozen=True, slots=True)
class LogWanted:
    """Which log, and how. ``name`` is a process, or a deployment, or ``None`` for the whole app."""

    app_id: str
    name: str | None
    follow: bool
    tail_lines: int


@dataclass(frozen=True, slots=True)
class WholeLog:
    """A log to be saved as a file."""

    process_id: str
    chunks: AsyncIterator[bytes]


def read_log(request: Request) -> LogWanted:
    """Of a process, a deployment or an app."""
    path, query = request.path, request.query
    name = path.get("processId") or path.get("deploymentId")
    return LogWanted(path["appId"], name, query["follow"], query["tailLines"])


def read_download(request: Request) -> tuple[str, str]:
    """(app id, process id)."""
    return request.path["appId"], request.path["processId"]


async def run_log(
    services: Services, caller: Caller, wanted: LogWanted, context: Context
) -> AsyncIterator[bytes]:
    """The last lines of one process, and with ``follow`` what comes until it has ended."""
    assert wanted.name is not None
    place = (wanted.app_id, wanted.name)
    found = await services.store.read(lambda tx: logs.find_log(tx, caller, place, context))
    return services.logs.stream(
        found.process_id, wanted.tail_lines, wanted.follow and found.growing
    )


async def run_logs(
    services: Services, caller: Caller, wanted: LogWanted, context: Context
) -> AsyncIterator[bytes]:
    """The last lines of several processes, each line with its process id in front."""
    place = (wanted.app_id, wanted.name)
    found = await services.store.read(lambda tx: logs.find_logs(tx, caller, place, context))
    return logs.together(services.logs, found, wanted.tail_lines, wanted.follow)


async def run_download(
    services: Services, caller: Caller, wanted: tuple[str, str], context: Context
) -> WholeLog:
    """All of it, of a process that has ended."""
    found = await services.store.read(lambda tx: logs.find_whole_log(tx, caller, wanted, context))
    return WholeLog(found.process_id, services.logs.stream(found.process_id, None, False))


def write_stream(chunks: AsyncIterator[bytes]) -> Stream:
    """Unframed lines."""
    return Stream(chunks)


def write_download(log: WholeLog) -> Stream:
    """A file named after the process."""
    disposition = f'attachment; filename="{log.process_id}.log"'
    return Stream(log.chunks, {"content-disposition": disposition})


_READ = "processes:read"

OPERATIONS = (
    Operation("GetLogsForProcess", read_log, run_log, write_stream, "async", _READ),
    Operation("DownloadLogForProcess", read_download, run_download, write_download, "async", _READ),
    Operation("GetLogsForApp", read_log, run_logs, write_stream, "async", _READ),
    Operation("GetLogsForDeployment", read_log, run_logs, write_stream, "async", _READ),
)
