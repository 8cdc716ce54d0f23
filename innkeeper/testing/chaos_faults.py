"""Makes things go wrong, puts them right again, and measures how long it takes until a room is accepted."""

import asyncio
import itertools
import json
import os
import signal
import time
from dataclasses import dataclass

from innkeeper.testing import host_facts
from innkeeper.testing.chaos_plan import Fault, FaultKind
from innkeeper.testing.chaos_scene import COMMAND, Player, Scene

START_TIMEOUT_S = 60.0
VICTIMS_REGION = "Seattle"  # where only rooms are that shall die
# Where the next room is asked for: in turn, so that it is the first one there and needs a new process.
_PROBE_REGIONS = itertools.cycle(("Chicago", "Dallas", "Frankfurt", "Mumbai", "Singapore", "Dubai"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """``back_s``: until the next room was accepted, or was in play where the engine had been killed."""

    fault: Fault
    back_s: float


def possible(scene: Scene) -> tuple[list[FaultKind], list[str]]:
    """What can go wrong here, and what cannot, with the reason."""
    kinds: list[FaultKind] = ["kill server", "game dies", *scene.store.faults]
    skipped = list(scene.store.skipped)
    if _engine_pid(scene) is not None:
        kinds += ["kill engine", "kill both"]
    else:
        skipped.append("kill engine: no API service of our own runs here")
    return kinds, skipped


async def perform(fault: Fault, scene: Scene, victim: Player | None) -> Outcome:
    """Wait, let it happen, put it right, and wait for the next room."""
    await asyncio.sleep(fault.after_s)
    match fault.kind:
        case "kill server":
            since = await _kill_server(scene, fault.hold_s)
        case "kill engine":
            since = _kill_engine(scene)
        case "kill both":
            since = _kill_engine(scene)
            await _kill_server(scene, fault.hold_s)
        case "full disk":
            since = await _full_disk(scene, fault.hold_s)
        case "full disk, kill server":
            since = await _full_disk_and_kill(scene, fault.hold_s)
        case "slow store" | "stuck store":
            since = await asyncio.to_thread(_hold_store, scene, fault.hold_s)
        case "game dies":
            assert victim is not None
            since = await asyncio.to_thread(_kill_game, scene, victim)
        case "restart store":
            since = time.monotonic()
            await asyncio.to_thread(scene.store.restart, fault.hold_s)
    async with scene.client(5.0) as http:
        room_id, _ = await scene.create_room(http, next(_PROBE_REGIONS))
        scene.ledger.doomed.add(room_id)
        if fault.kind in ("kill engine", "kill both"):
            await scene.in_play(http, room_id)
    return Outcome(fault, time.monotonic() - since)


async def _kill_server(scene: Scene, hold_s: float) -> float:
    """kill -9, then a start; the moment of the kill."""
    since = time.monotonic()
    await asyncio.to_thread(scene.server.kill)
    await asyncio.sleep(hold_s)
    await asyncio.to_thread(scene.server.start_until_up, START_TIMEOUT_S)
    return since


def _engine_pid(scene: Scene) -> int | None:
    """The pid of the engine's API service, where it is one of our own."""
    try:
        text = (scene.server.data_dir / "engine" / "service.json").read_text("utf-8")
    except FileNotFoundError:
        return None
    return int(json.loads(text)["pid"])


def _kill_engine(scene: Scene) -> float:
    pid = _engine_pid(scene)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()


async def _full_disk(scene: Scene, hold_s: float) -> float:
    """The moment at which there is room again."""
    await asyncio.to_thread(scene.store.fill)
    await asyncio.sleep(hold_s)
    scene.store.free()
    return time.monotonic()


async def _full_disk_and_kill(scene: Scene, hold_s: float) -> float:
    await asyncio.to_thread(scene.store.fill)
    await asyncio.to_thread(scene.server.kill)
    start = asyncio.create_task(asyncio.to_thread(scene.server.start_until_up, START_TIMEOUT_S))
    await asyncio.sleep(hold_s)
    scene.store.free()
    since = time.monotonic()
    await start
    return since


def _hold_store(scene: Scene, hold_s: float) -> float:
    """The moment at which the store is free again."""
    scene.store.hold(hold_s)
    return time.monotonic()


def _kill_game(scene: Scene, victim: Player) -> float:
    scene.ledger.stopped.add(victim.process_id)
    for pid in host_facts.games(scene.app_id, COMMAND)[victim.process_id]:
        os.kill(pid.pid, signal.SIGKILL)
    return time.monotonic()
