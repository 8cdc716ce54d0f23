"""The bounds of a deployment (behaviour.md 0.2, 3), what a machine promises, ids and scopes."""

import re
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.core.accounts import ADMIN_SCOPES, SCOPES, Caller, held
from innkeeper.core.capacity import Machine, Promised, machine_capacity, shortage
from innkeeper.core.catalog import (
    PLATFORM_ENV,
    ContainerPort,
    EnvVar,
    check_deployment,
    port_env_name,
)
from innkeeper.core.errors import Invalid, MissingScope
from innkeeper.core.ids import Ids, base36

GAME = ContainerPort("default", 7777, "udp")


def refused(
    cpu: float = 500,
    memory: float = 512,
    gpu: float = 0,
    ports: tuple[ContainerPort, ...] = (GAME,),
    env: tuple[EnvVar, ...] = (),
    memory_max: int = 8192,
) -> str | None:
    """The field that is refused, or ``None``."""
    try:
        check_deployment(cpu, memory, gpu, ports, env, memory_max)
    except Invalid as error:
        return error.field
    return None


@given(st.integers(25, 800))
def test_every_cpu_of_two_decimals_is_accepted(hundredths: int) -> None:
    assert refused(cpu=hundredths * 10) is None


@pytest.mark.parametrize("millis", [0, -500, 240, 249.9, 255, 500.5, 8010, 1e12])
def test_other_cpus_are_refused(millis: float) -> None:
    assert refused(cpu=millis) == "body.requestedCPU"


@pytest.mark.parametrize("memory", [0, -1, 511, 512.5, 8193, 1e300])
def test_memory_is_whole_and_within_the_organizations_bound(memory: float) -> None:
    assert refused(memory=memory) == "body.requestedMemoryMB"
    assert refused(memory=8192) is None


@pytest.mark.parametrize("gpu", [-1, 0.5, 1, 8])
def test_no_gpu_is_promised(gpu: float) -> None:
    assert refused(gpu=gpu) == "body.requestedGPU"


def tcp(name: str, port: int) -> ContainerPort:
    return ContainerPort(name, port, "tcp")


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ((tcp("default", 1),), "[0].name"),
        ((tcp("a", 1), tcp("a", 2)), "[1].name"),
        ((ContainerPort("a", 7777, "udp"),), "[0].port"),
        ((tcp("a", 1), ContainerPort("b", 1, "tls")), "[1].port"),
        ((tcp("a", 7777), ContainerPort("b", 7777, "tls")), "[1].port"),
    ],
)
def test_ports_differ_in_name_and_place(extra: tuple[ContainerPort, ...], field: str) -> None:
    assert refused(ports=(GAME, *extra)) == f"body.additionalContainerPorts{field}"


def test_one_number_serves_udp_and_tcp() -> None:
    assert refused(ports=(GAME, tcp("a", 7777))) is None


@pytest.mark.parametrize("name", sorted(PLATFORM_ENV))
def test_a_deployment_may_not_set_what_the_platform_sets(name: str) -> None:
    assert refused(env=(EnvVar("FINE", "1"), EnvVar(name, "x"))) == "body.env[1].name"


def test_the_variable_of_an_additional_port_is_the_platforms_too() -> None:
    ports = (GAME, ContainerPort("voice-chat", 1, "udp"))
    assert refused(ports=ports, env=(EnvVar("HATHORA_VOICE_CHAT_PORT", "1"),)) == "body.env[0].name"
    assert port_env_name("voice-chat") == "VOICE_CHAT"


@pytest.mark.parametrize(
    "name", ["HATHORA_DEV_TOKEN", "HATHORA_TOKEN", "HATHORA_SERVER_URL", "PORT"]
)
def test_other_names_stay_free(name: str) -> None:
    assert refused(env=(EnvVar(name, "x"),)) is None


def test_a_value_with_a_nul_is_refused() -> None:
    assert refused(env=(EnvVar("A", "x\0y"),)) == "body.env[0].value"


@given(
    st.integers(0, 64_000), st.integers(0, 64_000), st.integers(0, 70_000), st.integers(0, 70_000),
    st.integers(1, 8_000), st.integers(1, 8_192),
)  # fmt: skip
def test_a_machine_is_never_promised_twice(
    cpu: int, memory: int, cpu_out: int, memory_out: int, cpu_more: int, memory_more: int
) -> None:
    fits = cpu_out + cpu_more <= cpu and memory_out + memory_more <= memory
    told = shortage(Machine(cpu, memory), Promised(cpu_out, memory_out), cpu_more, memory_more)
    assert (told is None) == fits
    if told is not None:
        assert told.startswith("memory" if memory_out + memory_more > memory else "CPU")
        assert "-" not in told, "what is over-promised is told as 0 free"


@given(st.integers(1, 256), st.integers(0, 4_000_000), st.floats(1, 32))
def test_some_memory_stays_with_the_system(cores: int, memory: int, overcommit: float) -> None:
    machine = machine_capacity(cores, memory, overcommit)
    assert 0 <= machine.memory_mb <= max(memory - 512, 0)
    assert machine.memory_mb >= min(memory - 4096, memory * 7 // 8)
    assert cores * 1000 <= machine.cpu_millis <= cores * 1000 * overcommit


@given(st.integers(0, 2**80))
def test_base36_reads_back(number: int) -> None:
    assert int(base36(number), 36) == number


@given(st.integers())
def test_ids_have_their_forms(seed: int) -> None:
    ids = Ids(Random(seed).getrandbits)
    assert UUID(ids.uuid()).version == 4
    assert re.fullmatch(r"app-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ids.prefixed("app"))
    assert re.fullmatch(r"[0-9a-z]{1,13}", ids.room_id())
    assert re.fullmatch(r"hathora_org_st_[0-9A-Za-z]{43}_[0-9a-f]{8}", ids.org_token())


@given(st.integers())
def test_ids_do_not_repeat(seed: int) -> None:
    ids = Ids(Random(seed).getrandbits)
    assert len({ids.room_id() for _ in range(100)}) == 100
    assert len({ids.org_token() for _ in range(100)}) == 100


@given(st.frozensets(st.sampled_from(SCOPES)), st.sampled_from(SCOPES))
def test_read_write_holds_read_and_nothing_else_follows(
    scopes: frozenset[str], needed: str
) -> None:
    family, _, right = needed.partition(":")
    expected = needed in scopes or (right == "read" and f"{family}:read-write" in scopes)
    assert held(scopes, needed) is expected
    caller = Caller("org", "token", scopes)
    if expected:
        caller.require(needed)
    else:
        with pytest.raises(MissingScope, match=needed):
            caller.require(needed)


def test_there_are_eighteen_scopes_and_an_admin_has_them() -> None:
    assert len(SCOPES) == len(ADMIN_SCOPES) == 18
