"""What a person could do about how a room or a process ended, or why it does not begin."""

from dataclasses import dataclass

from innkeeper.core.catalog import ContainerPort
from innkeeper.core.processes import (
    APP_DELETED,
    DRAINED_BY_REQUEST,
    GAVE_WAY,
    IDLE_TIMEOUT,
    NODE_LOST,
    OUT_OF_MEMORY,
    REPLACED,
    RESTARTED_AWAY,
    SCALED_DOWN,
    STOPPED_BY_REQUEST,
    Process,
)
from innkeeper.core.rooms import DESTROYED_BY_REQUEST, PROCESS_ENDED
from innkeeper.core.snapshot import Limits
from innkeeper.core.telling import short

RESUME = (
    "Resume it, or let a player ask for its connection: it then gets a process as a new room would."
)
CAPACITY = (
    "It gets its place as soon as a process ends or a slot is free. To make room now, stop a process "
    "that nobody needs (`innkeeper ps`), or ask for less CPU and memory in a new deployment."
)
NOT_HANDED_OVER = (
    "Nobody hands it over: the log of `innkeeper serve` says whether a server reconciles, and whether "
    "the engine answers it."
)
NOT_BOOTED = (
    "An image's first start takes the longest. If it goes on, the engine may be away: the log of "
    "`innkeeper serve` says so."
)
BAD_DEPLOYMENT = (
    "See what the one that failed has printed (`innkeeper ps -a`, `innkeeper logs PROCESS`). A deployment "
    "that is mended starts at once: only this one has to wait."
)
_ROOM_ENDED_BY_REQUEST = (
    "Somebody asked the API to end this room: mostly the game itself, when its match is over. If that was "
    "not meant, look for who calls DestroyRoom with a token of this organization."
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What to say of reasons that begin so."""

    begins: str
    says: str


_RULES = (
    _Rule(
        OUT_OF_MEMORY,
        "It needed more than its {memory} MB, and the kernel ended it with everyone on it. Deploy it with "
        "more memory, or find what grows in the game.",
    ),
    _Rule(
        "Killed by signal 9",
        "Something else on the machine killed it. The system's log of that moment may name it.",
    ),
    _Rule(
        "Killed by signal",
        "The game crashed, and took its players with it. Its last words: `innkeeper logs {process}`.",
    ),
    _Rule(
        "Exited with code 0",
        "The game ended by itself, as if its work was done, and everyone on it was cut off. If that was "
        "not meant, see why it left: `innkeeper logs {process}`.",
    ),
    _Rule(
        "Exited with code",
        "The game ended by itself with an error, and took its players with it. Its last words: "
        "`innkeeper logs {process}`.",
    ),
    _Rule(
        "Failed to bind",
        "The game never opened {ports}, so no player could reach it. It must listen on 0.0.0.0 there. "
        "What it did instead: `innkeeper logs {process}`.",
    ),
    _Rule(
        "Image could not be started",
        "See that the image is for this machine's kind of CPU, and that its start command is in it: "
        "`innkeeper logs {process}`.",
    ),
    _Rule(
        IDLE_TIMEOUT,
        "It had neither rooms nor players for {idle} s. A deployment with idleTimeoutEnabled false is not "
        "stopped for that.",
    ),
    _Rule(
        NODE_LOST,
        "The machine or its engine was restarted, or lost it. The system's log of that time may say why.",
    ),
    _Rule(
        STOPPED_BY_REQUEST,
        "Somebody asked the API to stop the process, and its rooms ended with it. To let rooms end by "
        "themselves first, drain it: `innkeeper drain {process}`.",
    ),
    _Rule(
        DRAINED_BY_REQUEST,
        "Somebody asked the API to drain the process: it ended once it was empty.",
    ),
    _Rule(
        RESTARTED_AWAY,
        "`innkeeper down` stopped everything. Restarting the server alone leaves games running.",
    ),
    _Rule(APP_DELETED, "Somebody deleted the app, and all that ran of it was stopped."),
    _Rule(
        REPLACED, "A newer deployment took its place: it took no new rooms, and ended when empty."
    ),
    _Rule(GAVE_WAY, "A room waited for capacity, and this process was empty."),
    _Rule(SCALED_DOWN, "It was empty, and not needed any more."),
)


def of_room_end(reason: str) -> tuple[str, ...]:
    """About the end of a room that its process did not bring."""
    return (_ROOM_ENDED_BY_REQUEST,) if reason == DESTROYED_BY_REQUEST else ()


def of_end(
    process: Process, reason: str, ports: tuple[ContainerPort, ...], limits: Limits
) -> tuple[str, ...]:
    """About the end of a process, or of a room with its process."""
    bare = reason.removeprefix(f"{PROCESS_ENDED}: ")
    for rule in _RULES:
        if bare.startswith(rule.begins):
            text = rule.says.format(
                memory=process.memory_mb,
                process=short(process.process_id),
                ports=ports_told(ports),
                idle=f"{limits.idle_timeout_s:g}",
            )
            return (text,)
    return ()


def not_bound(process: Process, ports: tuple[ContainerPort, ...]) -> tuple[str, ...]:
    """About a process that runs and does not open its ports."""
    name = short(process.process_id)
    text = f"The game must listen on 0.0.0.0, {ports_told(ports)}. What it does: `innkeeper logs {name}`."
    return (text,)


def ports_told(ports: tuple[ContainerPort, ...]) -> str:
    """``port 7777/udp``, or several."""
    told = ", ".join(f"{port.port}/{_protocol(port)}" for port in ports)
    return f"port {told}" if len(ports) == 1 else f"ports {told}"


def _protocol(port: ContainerPort) -> str:
    return "tcp" if port.transport_type == "tls" else port.transport_type
