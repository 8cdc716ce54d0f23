"""What Podman leaves half-done when its API service is killed: nobody else ever takes it away.

Containers that were made and not started, their monitors, packet rules that lead players to an address which
another game may get next, and network namespaces. Cleared while no service runs, before the next one starts.
"""

import ipaddress
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from innkeeper.runtime import proc_table

_log = logging.getLogger(__name__)
_NETNS = Path("/run/netns")
_HELPERS = ("netavark", "runc")  # they carry on without the service, for a moment
_HELPERS_WAIT_S = 5.0
_COMMAND_TIMEOUT_S = 60.0
# Begun or half removed: made anew, or removed for good. One that is stuck here can keep Podman from
# listing and reading anything at all.
_UNSURE = ("configured", "created", "initialized", "removing")
# Of Netavark: a chain for each network, rules by port into it and, within it, to an address.
_RULE = re.compile(r"-A (?P<chain>\S+) (?P<rest>.*)")
_PORT = re.compile(r"-p (tcp|udp)\b.* --dport (\d+)\b")
_TO = re.compile(r"--to-destination ([0-9.]+):")
_JUMP = re.compile(r"-j (\S+)")
_WHOSE = re.compile(r"id: ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Target:
    """The container that a port of the host leads to."""

    container_id: str
    address: str


Networks = Collection[ipaddress.IPv4Network]
Published = Mapping[tuple[str, int], Target]  # by protocol and port of the host


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service keeps things, and the environment its commands need."""

    engine_dir: Path
    run_dir: Path
    environment: Mapping[str, str]


def clear(place: Place) -> None:
    """Take it all away. Blocks, some 0.3 s. What cannot be done is logged: a service must start."""
    began = time.monotonic()
    try:
        _wait_for_helpers(place)
        unsure = [each["Id"] for each in _listed(place) if each["State"] in _UNSURE]
        _end_unknown(place, unsure)
        for container_id in unsure:
            _podman(place, "rm", "--force", "--volumes", container_id, check=False)
        networks = networks_of(place.engine_dir)
        running = [each for each in _listed(place) if each["State"] == "running"]
        _clear_rules(networks, _published(place, running))
        _clear_namespaces(networks)
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        _log.warning("what the container engine left half-done was not cleared: %s", error)
    _log.info("cleared what the container engine left half-done: %.1f s", time.monotonic() - began)


def clear_networks(engine_dir: Path) -> None:
    """Take away all rules and namespaces of a service's networks: nothing runs there any more. Blocks."""
    networks = networks_of(engine_dir)
    _clear_rules(networks, {})
    _clear_namespaces(networks)


def _listed(place: Place) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(
        _podman(place, "ps", "--all", "--format", "json") or "[]"
    )
    return listed


def _wait_for_helpers(place: Place) -> None:
    ours = (os.fsencode(place.engine_dir), os.fsencode(place.run_dir))
    until = time.monotonic() + _HELPERS_WAIT_S
    while time.monotonic() < until:
        lines = [
            line for pid, line in _commands() if os.path.basename(line[0]).decode() in _HELPERS
        ]
        if not any(path in word for line in lines for word in line for path in ours):
            return
        time.sleep(0.02)


def _commands() -> Iterable[tuple[int, list[bytes]]]:
    for pid in proc_table.pids():
        try:
            yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile


def _monitors(engine_dir: Path) -> dict[str, int]:
    """The pid of each container's monitor, by the container's id."""
    storage = os.fsencode(engine_dir / "storage" / "overlay-containers")
    found = {}
    for pid, words in _commands():
        if os.path.basename(words[0]) == b"conmon" and b"-b" in words:
            bundle = Path(os.fsdecode(words[words.index(b"-b") + 1]))
            if os.fsencode(bundle.parent.parent) == storage:
                found[bundle.parent.name] = pid
    return found


def _end_unknown(place: Place, unsure: Collection[str]) -> None:
    """Podman does not know whether these were begun, or knows nothing of them: nobody has played there."""
    known = {each["Id"] for each in _listed(place)}.difference(unsure)
    for container_id, pid in _monitors(place.engine_dir).items():
        if container_id in known:
            continue
        _log.info("container %s was begun and nobody knows of it: ending it", container_id[:12])
        ticks = proc_table.start_ticks(pid)
        _run("runc", "delete", "--force", container_id, check=False)
        if ticks is not None:
            proc_table.send_signal(pid, signal.SIGKILL, partial(proc_table.alive, pid, ticks))


def networks_of(engine_dir: Path) -> Networks:
    """The subnets that this service's networks have."""
    found = []
    for path in (engine_dir / "networks").glob("*.json"):
        for subnet in json.loads(path.read_text("utf-8")).get("subnets") or ():
            network = ipaddress.ip_network(subnet["subnet"])
            if isinstance(network, ipaddress.IPv4Network):
                found.append(network)
    return found


def _published(place: Place, running: list[dict[str, Any]]) -> Published:
    """Which ports lead where, by what the running containers say of themselves.

    One that has joined another's network is shown with the ports, and the address, of that one.
    """
    with_ports = sorted(each["Id"] for each in running if each["Ports"])
    if not with_ports:
        return {}
    told = json.loads(_podman(place, "container", "inspect", *with_ports))
    addresses = {
        each["Id"]: str(network["IPAddress"])
        for each in told
        if not each["HostConfig"]["NetworkMode"].startswith("container:")
        for network in (each["NetworkSettings"]["Networks"] or {}).values()
    }
    return {
        (str(port["protocol"]), int(port["host_port"]) + more): Target(
            each["Id"], addresses[each["Id"]]
        )
        for each in running
        if each["Id"] in addresses
        for port in each["Ports"] or ()
        for more in range(int(port.get("range") or 1))
    }


def stale_rules(saved: str, networks: Networks, published: Published) -> list[list[str]]:
    """Rules of ``iptables-save -t nat`` that lead to nobody, or to another: as arguments of a deletion."""
    rules = [found for line in saved.splitlines() if (found := _RULE.fullmatch(line))]
    ours = {
        rule["chain"]
        for rule in rules
        if (to := _TO.search(rule["rest"])) and _is_ours(to[1], networks)
    }
    stale = []
    for rule in rules:
        port = _PORT.search(rule["rest"])
        jump = _JUMP.search(rule["rest"])
        if port is None or not ours.intersection((rule["chain"], jump[1] if jump else "")):
            continue
        wanted = published.get((port[1], int(port[2])))
        to, whose = _TO.search(rule["rest"]), _WHOSE.search(rule["rest"])
        if (
            wanted is None
            or (to is not None and to[1] != wanted.address)
            or (whose is not None and whose[1] != wanted.container_id)
        ):
            stale.append(["-D", rule["chain"], *shlex.split(rule["rest"])])
    return stale


def _is_ours(address: str, networks: Networks) -> bool:
    return any(ipaddress.ip_address(address) in network for network in networks)


def _clear_rules(networks: Networks, published: Published) -> None:
    saved = _run("iptables-save", "-t", "nat")
    for arguments in stale_rules(saved, networks, published):
        _log.info("a packet rule leads to nobody: removing it (%s)", " ".join(arguments[1:]))
        _run("iptables", "--wait", "-t", "nat", *arguments)


def namespaces_of(networks: Networks, besides: Collection[int] = ()) -> list[Path]:
    """The named network namespaces with an address in one of these networks; not those of these inodes."""
    found = []
    for entry in _NETNS.iterdir() if _NETNS.is_dir() else ():
        try:
            if entry.stat().st_ino in besides:
                continue
        except FileNotFoundError:
            continue  # somebody else's, and gone
        shown = _run("ip", "-n", entry.name, "-4", "-o", "address", "show", check=False)
        addresses = re.findall(r"inet ([0-9.]+)/", shown)
        if any(_is_ours(address, networks) for address in addresses):
            found.append(entry)
    return found


def _clear_namespaces(networks: Networks) -> None:
    """Those in which no process is."""
    used = set()
    for pid in proc_table.pids():
        try:
            used.add(os.stat(f"/proc/{pid}/ns/net").st_ino)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    for entry in namespaces_of(networks, used):
        _log.info("network namespace %s has no process: removing it", entry.name)
        _run("ip", "netns", "delete", entry.name)


def _podman(place: Place, *words: str, check: bool = True) -> str:
    return _run("podman", *words, environment=place.environment, check=check)


def _run(*words: str, environment: Mapping[str, str] | None = None, check: bool = True) -> str:
    """What a command printed; with ``check`` its failure raises ``CalledProcessError``."""
    done = subprocess.run(
        words,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_COMMAND_TIMEOUT_S,
        check=check,
    )
    return done.stdout
