"""What a killed engine service leaves half-done is taken away before the next one starts; what runs stays."""

import ipaddress
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from innkeeper.interfaces import SandboxSpec
from innkeeper.runtime.container import ContainerRuntime
from innkeeper.runtime.container_spec import sandbox_name
from innkeeper.runtime.engine import Engine
from innkeeper.runtime.engine_leftovers import Target, stale_rules
from innkeeper.runtime.engine_service import can_run_service, find_engine
from innkeeper.runtime.sandbox import force_remove
from innkeeper.testing.container_harness import ContainerHarness
from tests.runtime.test_engine_service import SETTINGS, data_dir, driver, pid_of

__all__ = ["data_dir", "driver"]

needs_engine = pytest.mark.skipif(not can_run_service(), reason="needs root, podman and runc")

ID, OTHER = "a" * 64, "b" * 64
OURS = [ipaddress.IPv4Network("10.216.112.0/20")]
PUBLISHED = {
    ("udp", 10016): Target(ID, "10.216.112.11"),
    ("tcp", 10017): Target(ID, "10.216.112.11"),
}


def comment(network: str, container_id: str) -> str:
    """What Netavark writes on its rules."""
    return f'-m comment --comment "dnat name: {network} id: {container_id}"'


RIGHT = f"""
-A POSTROUTING -s 10.216.112.0/20 -j NETAVARK-52496F058DADA
-A NETAVARK-52496F058DADA -d 10.216.112.0/20 -j ACCEPT
-A NETAVARK-DN-52496F058DADA -s 10.216.112.0/20 -p udp -m udp --dport 10016 -j NETAVARK-HOSTPORT-SETMARK
-A NETAVARK-DN-52496F058DADA -s 127.0.0.1/32 -p udp -m udp --dport 10016 -j NETAVARK-HOSTPORT-SETMARK
-A NETAVARK-DN-52496F058DADA -p udp -m udp --dport 10016 -j DNAT --to-destination 10.216.112.11:7777
-A NETAVARK-HOSTPORT-DNAT -p udp -m udp --dport 10016 {comment("x", ID)} -j NETAVARK-DN-52496F058DADA
-A NETAVARK-DN-1E9A5DF8F1974 -p tcp -m tcp --dport 45231 -j DNAT --to-destination 10.215.128.3:7777
-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 45231 {comment("y", OTHER)} -j NETAVARK-DN-1E9A5DF8F1974
-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
"""


def test_rules_that_lead_where_they_should_stay() -> None:
    assert stale_rules(RIGHT, OURS, PUBLISHED) == []


CHAIN = "NETAVARK-DN-52496F058DADA"


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        pytest.param(
            f"-A {CHAIN} -p udp -m udp --dport 10016 -j DNAT --to-destination 10.216.112.10:7777",
            "-p udp -m udp --dport 10016 -j DNAT --to-destination 10.216.112.10:7777",
            id="to an address that another game may have by now",
        ),
        pytest.param(
            f"-A {CHAIN} -p udp -m udp --dport 10018 -j DNAT --to-destination 10.216.112.11:7777",
            "-p udp -m udp --dport 10018 -j DNAT --to-destination 10.216.112.11:7777",
            id="for a port that nobody has published",
        ),
        pytest.param(
            f"-A {CHAIN} -s 127.0.0.1/32 -p udp -m udp --dport 10018 -j NETAVARK-HOSTPORT-SETMARK",
            "-s 127.0.0.1/32 -p udp -m udp --dport 10018 -j NETAVARK-HOSTPORT-SETMARK",
            id="the mark for such a port",
        ),
        pytest.param(
            "-A NETAVARK-HOSTPORT-DNAT -p udp -m udp --dport 10016 -m comment "
            f'--comment "name:_x id: {OTHER}" -j {CHAIN}',
            f"-p udp -m udp --dport 10016 -m comment --comment name:_x id: {OTHER} -j {CHAIN}",
            id="of a container that is gone",
        ),
    ],
)
def test_a_rule_that_leads_to_nobody_goes(rule: str, arguments: str) -> None:
    (found,) = stale_rules(f"{RIGHT}{rule}\n", OURS, PUBLISHED)
    assert found[:2] == ["-D", rule.split()[1]]
    assert " ".join(found[2:]) == arguments


def command(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace without a process."""
    name = f"netns-{uuid.uuid4()}"
    command("ip", "netns", "add", name)
    yield name
    if name in os.listdir("/run/netns"):
        command("ip", "netns", "delete", name)


@needs_engine
async def test_a_killed_service_leaves_nothing_half_done(
    driver: ContainerRuntime, data_dir: Path, namespace: str
) -> None:
    found = await find_engine(data_dir)
    assert found.service is not None
    engine = Engine(found.socket_path)
    await engine.open()
    port = ContainerHarness(found.socket_path).ports("tcp")[0]
    address = await driver.make_sandbox(SandboxSpec("stays", "dep", (port,)))
    assert address is not None
    network = ipaddress.ip_interface(f"{address}/20").network
    body: dict[str, Any] = {"Image": f"localhost/{SETTINGS.prefix}/holder:1"}
    made = await engine.call("POST", "/containers/create", params={"name": "half"}, body=body)
    assert made.ok, made.message
    # A game in the sandbox is shown with the sandbox's ports and address, and has no rules of its own.
    holder = sandbox_name(SETTINGS, "stays")
    body["HostConfig"] = {"NetworkMode": f"container:{holder}"}
    joined = await engine.call("POST", "/containers/create", params={"name": "game"}, body=body)
    assert joined.ok, joined.message
    assert (await engine.call("POST", "/containers/game/start")).ok
    before = command("iptables-save", "-t", "nat").splitlines()
    (right,) = [line for line in before if f"--to-destination {address}:" in line]
    wrong = right.replace(f"{address}:", f"{network[200]}:").split()
    command("iptables", "-t", "nat", "-I", *wrong[1:])
    command("ip", "-n", namespace, "address", "add", f"{network[201]}/20", "dev", "lo")
    os.kill(pid_of(data_dir), signal.SIGKILL)
    await found.service.ensure()
    assert (await engine.call("GET", "/containers/half/json")).status == 404
    after = command("iptables-save", "-t", "nat").splitlines()
    ours = right.split()[1]
    assert [line for line in after if ours in line] == [line for line in before if ours in line]
    assert namespace not in os.listdir("/run/netns")
    await force_remove(engine, "game")
    await engine.close()
