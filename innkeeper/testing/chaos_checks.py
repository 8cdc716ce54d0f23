"""What must hold when all is at rest: nobody was cut, no room is lost, nothing of ours has no owner."""

import asyncio
import contextlib
import json
import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from innkeeper.core.capacity import SANDBOX_MEMORY_MB
from innkeeper.core.errors import RuntimeAway
from innkeeper.core.processes import Process
from innkeeper.runtime import engine_leftovers
from innkeeper.runtime.container_spec import LABEL_INSTALLATION, LABEL_PROCESS, LABEL_SANDBOX
from innkeeper.runtime.engine import Engine
from innkeeper.store.opening import open_store
from innkeeper.testing import host_facts
from innkeeper.testing.chaos_scene import COMMAND, Scene
from innkeeper.testing.invariants import Facts
from innkeeper.testing.players import ask_tcp, ask_udp

REST_TIMEOUT_S = 120.0
_LOOK_S = 0.25
_OWN = "own-"  # how the driver names such a sandbox: after its process


@dataclass(frozen=True, slots=True)
class Carried:
    """What the machine carries of the installation: process ids and sandbox ids."""

    processes: Counter[str]
    sandboxes: Counter[str]


async def carried(scene: Scene) -> Carried:
    """Ask the engine, or the kernel where games are plain host processes."""
    if scene.server.runtime == "process":
        games = await asyncio.to_thread(host_facts.games, scene.app_id, COMMAND)
        return Carried(Counter({one: len(pids) for one, pids in games.items()}), Counter())
    engine = Engine(scene.engine_socket())
    try:
        await engine.open()
        label = f"{LABEL_INSTALLATION}={await _installation_id(scene)}"
        filters = json.dumps({"label": [label]})
        answer = await engine.call(
            "GET", "/containers/json", params={"all": True, "filters": filters}
        )
        assert answer.ok, answer.message
    finally:
        await engine.close()
    labels = [container["Labels"] for container in answer.data]
    return Carried(
        Counter(each[LABEL_PROCESS] for each in labels if LABEL_PROCESS in each),
        Counter(each[LABEL_SANDBOX] for each in labels if LABEL_SANDBOX in each),
    )


def _wanted(now: Facts, seen: Carried) -> Carried:
    """What the machine should carry. A process that was given no sandbox has made one for itself."""
    processes = Counter(p.process_id for p in now.processes if not p.removed)
    sandboxes = Counter(s["sandbox_id"] for s in now.sandboxes)
    own = (one for one in seen.sandboxes if one.removeprefix(_OWN) in processes)
    return Carried(processes, sandboxes + Counter(own))


async def _installation_id(scene: Scene) -> str:
    store = await open_store(scene.store.url)
    try:
        row = await store.read(lambda tx: tx.one("installation.first"))
    finally:
        await store.close()
    assert row is not None
    return str(row["installation_id"])


async def rest(scene: Scene) -> tuple[Facts, Carried]:
    """Wait, but not for ever, until nothing is on its way and the machine carries what the store says."""
    until = time.monotonic() + REST_TIMEOUT_S
    while True:
        now = await scene.facts()
        with contextlib.suppress(RuntimeAway):
            seen = await carried(scene)
            if time.monotonic() > until or (_settled(now) and seen == _wanted(now, seen)):
                return now, seen
        await asyncio.sleep(_LOOK_S)


def _settled(now: Facts) -> bool:
    moving = [p for p in now.processes if not p.removed and p.status != "running"]
    starting = [room for room in now.rooms if room["status"] == "scheduling"]
    unsure = [s for s in now.sandboxes if s["state"] not in ("ready", "taken")]
    return not moving and not starting and not unsure


def check(scene: Scene, now: Facts, seen: Carried) -> None:
    """Every promise; what is not kept goes to the ledger."""
    _rooms(scene, now)
    _containers(scene, now, seen)
    _ports(scene, now)
    _promises(scene, now)
    _players(scene)
    _newcomers(scene, now)
    scene.networks = list(engine_leftovers.networks_of(scene.server.data_dir / "engine"))


def _rooms(scene: Scene, now: Facts) -> None:
    """Every accepted room is active, or has ended with a reason; it ends only where that was wanted."""
    ledger, by_id = scene.ledger, {p.process_id: p for p in now.processes}
    known = {room["room_id"]: room for room in now.rooms}
    for room_id, process_id in ledger.accepted.items():
        room = known.get(room_id)
        if room is None:
            ledger.lose("room lost", f"{room_id} was answered 201, and is not on record")
        elif room["status"] == "destroyed":
            if not room["end_reason"]:
                ledger.lose("room lost", f"{room_id} ended without a reason")
            if not ledger.may_have_ended(room_id, process_id):
                why = by_id[process_id].summary_exit_reason
                ledger.lose("room lost", f"{room_id} ended: {room['end_reason']} ({why})")
        elif room["status"] != "active":
            ledger.lose("room lost", f"{room_id} stays {room['status']}")
        elif room_id in ledger.destroyed:
            ledger.lose("promise broken", f"{room_id} lives on, and its end was answered")
        elif by_id[room["process_id"]].status != "running":
            ledger.lose("room lost", f"{room_id} is on {by_id[room['process_id']]}")


def _containers(scene: Scene, now: Facts, seen: Carried) -> None:
    ledger, wanted = scene.ledger, _wanted(now, seen)
    for kind, there, known in (
        ("process", seen.processes, wanted.processes),
        ("sandbox", seen.sandboxes, wanted.sandboxes),
    ):
        for one, count in (there - known).items():
            twice = f"{count + 1} times" if one in known else "without a record"
            ledger.lose("container leaked", f"{kind} {one} runs {twice}")
        for one in known - there:
            ledger.lose("promise broken", f"{kind} {one} is on record, and does not run")
    for process in now.processes:
        if process.removed or process.status == "running":
            continue
        ledger.lose(
            "promise broken", f"process {process.process_id} never came to rest: {process.status}"
        )


def _ports(scene: Scene, now: Facts) -> None:
    owners = {p.process_id for p in now.processes if not p.removed}
    owners |= {s["sandbox_id"] for s in now.sandboxes}
    for port, owner in now.ports.items():
        if owner not in owners:
            scene.ledger.lose("port leaked", f"{port} belongs to {owner}, which is gone")
    living: list[Process] = [p for p in now.processes if not p.removed]
    given = Counter(port.port for p in living for port in p.exposed_ports)
    for port, count in given.items():
        if count > 1:
            scene.ledger.lose("promise broken", f"port {port} was given out {count} times")
    for port in sorted(open_ports(scene) - now.ports.keys()):
        scene.ledger.lose("port leaked", f"{port} is open, and nobody owns it")


def open_ports(scene: Scene) -> set[int]:
    """Those of our block that somebody listens on, or that packet rules lead to a game."""
    first, last = scene.server.ports
    found: set[int] = set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            address, remote = line.split()[1:3]
            # A player's own end of a connection is no open port.
            if remote.endswith(":0000"):
                found.add(int(address.rpartition(":")[2], 16))
    if scene.server.runtime != "process":
        found |= {int(port) for port in re.findall(r"--dport (\d+)", packet_rules())}
    return {port for port in found if first <= port <= last}


def packet_rules() -> str:
    """All of this machine, as ``iptables-save`` prints them; empty where it may not be asked."""
    saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False)
    return saved.stdout


def _promises(scene: Scene, now: Facts) -> None:
    """What is promised of the machine is what the living ask for."""
    living = [p for p in now.processes if p.terminated_at is None]
    memory_mb = sum(p.memory_mb for p in living) + SANDBOX_MEMORY_MB * len(now.sandboxes)
    cpu_millis = sum(p.cpu_millis for p in living)
    told = (now.machine["memory_mb_promised"], now.machine["cpu_millis_promised"])
    if told != (memory_mb, cpu_millis):
        scene.ledger.lose(
            "promise broken", f"{told} (MB, thousandths) are promised, {memory_mb, cpu_millis} used"
        )


def _players(scene: Scene) -> None:
    for player in scene.players:
        if player.process_id in scene.ledger.stopped:
            continue
        if not player.steady.faults:
            with contextlib.suppress(TimeoutError):
                player.steady.plays_on(5)
                continue
        said = "; ".join(player.steady.faults) or "no more answers"
        scene.ledger.lose("player cut", f"in room {player.room_id}: {said}")
        scene.ledger.stopped.add(player.process_id)  # told once


def _newcomers(scene: Scene, now: Facts) -> None:
    """Who comes now is answered on every port of every game, over UDP and TCP."""
    for process in now.processes:
        if process.removed or process.status != "running":
            continue
        for port in process.exposed_ports:
            ask = ask_udp if port.transport_type == "udp" else ask_tcp
            word = f"hello {process.process_id}"
            try:
                answer = ask((port.host, port.port), word)
            except OSError as error:
                answer = repr(error)
            if answer != word:
                told = (
                    f"process {process.process_id} at {port.port}/{port.transport_type}: {answer}"
                )
                scene.ledger.lose("player cut", f"a new one does not reach {told}")


def check_end(scene: Scene, now: Facts) -> None:
    """After everything was stopped, and `down`: nothing is left on this machine."""
    ledger = scene.ledger
    for port, owner in now.ports.items():
        ledger.lose("port leaked", f"{port} belongs to {owner} at the end")
    for port in sorted(open_ports(scene)):
        ledger.lose("port leaked", f"{port} is open at the end")
    for pid, command in host_facts.processes_of(scene.server.data_dir).items():
        ledger.lose("container leaked", f"process {pid} lives on: {command[:200]}")
    mounts = Path("/proc/self/mountinfo").read_text()
    for namespace in engine_leftovers.namespaces_of(scene.networks):
        ledger.lose("container leaked", f"network namespace {namespace.name} is left")
    rules = packet_rules()
    for network in scene.networks:
        for line in rules.splitlines():
            if str(network) in line:
                ledger.lose("port leaked", f"a packet rule is left: {line}")
    for line in mounts.splitlines():
        if f" {scene.server.data_dir}/" in line:
            ledger.lose("container leaked", f"mount {line.split()[4]} is left")
