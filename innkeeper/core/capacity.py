"""What a machine has, and what is promised of it: memory once, CPU by a factor."""

from dataclasses import dataclass

# A network sandbox made ahead: its holder and the engine's monitor, measured at 2-3 MB together.
SANDBOX_MEMORY_MB = 4


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine can promise. CPU in thousandths of a core, already times the overcommit factor.

    ``cores`` and ``total_memory_mb`` are what it really has, as its node is shown.
    """

    cpu_millis: int
    memory_mb: int
    cores: int = 0
    total_memory_mb: int = 0


@dataclass(frozen=True, slots=True)
class Promised:
    """What is promised to processes that are not terminated, and to sandboxes."""

    cpu_millis: int
    memory_mb: int


def machine_capacity(cores: int, memory_total_mb: int, overcommit: float) -> Machine:
    """Leave the system and ourselves an eighth of the memory, 512 MB at the least and 4 GB at the most."""
    reserve_mb = min(max(memory_total_mb // 8, 512), 4096)
    return Machine(
        cpu_millis=int(cores * 1000 * overcommit),
        memory_mb=max(memory_total_mb - reserve_mb, 0),
        cores=cores,
        total_memory_mb=memory_total_mb,
    )


def shortage(machine: Machine, promised: Promised, cpu_millis: int, memory_mb: int) -> str | None:
    """What would be short if this much more were promised; ``None`` when it fits."""
    free_memory_mb = machine.memory_mb - promised.memory_mb
    if memory_mb > free_memory_mb:
        return f"memory: {memory_mb} MB asked, {max(free_memory_mb, 0)} MB free of {machine.memory_mb} MB"
    free_millis = machine.cpu_millis - promised.cpu_millis
    if cpu_millis > free_millis:
        asked, free, total = (
            v / 1000 for v in (cpu_millis, max(free_millis, 0), machine.cpu_millis)
        )
        return f"CPU: {asked:g} vCPU asked, {free:g} free of {total:g} (cores times the overcommit factor)"
    return None
