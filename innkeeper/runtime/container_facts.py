"""Facts of containers that a listing does not tell, each asked for once: moments, pid, exit, log file."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from innkeeper.core.processes import Exit
from innkeeper.core.snapshot import Phase
from innkeeper.runtime import proc_table
from innkeeper.runtime.container_spec import LABEL_PROCESS, exit_of, moment, phase, phase_of
from innkeeper.runtime.engine import Engine
from innkeeper.runtime.oom import memory_kills, was_killed

_INSPECTIONS_MAX = 8


@dataclass(frozen=True, slots=True)
class Facts:
    """One container. ``pid`` while it runs, ``exit`` once it has ended."""

    container_id: str
    phase: Phase
    listed_as: Phase  # the listing's word, which may be "created" for one that has ended
    started_at: datetime | None = None
    pid: int | None = None
    pid_ticks: int | None = None  # when the kernel started it: with the pid, its identity
    exit: Exit | None = None
    log_path: Path | None = None
    layers: tuple[Path, ...] = ()  # the directories of this machine that it writes to


class ContainerFacts:
    """The facts of each process's container, kept until it is removed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, Facts] = {}
        self._details: dict[str, str] = {}
        self._inspecting = asyncio.Semaphore(_INSPECTIONS_MAX)

    def forget(self, process_id: str) -> None:
        """Drop what is known of a removed container."""
        self._known.pop(process_id, None)
        self._details.pop(process_id, None)

    def known(self, process_id: str) -> Facts | None:
        """What was last seen of a container."""
        return self._known.get(process_id)

    def explain(self, process_id: str, detail: str) -> None:
        """Add words to the exit that is to come: why we ended it."""
        self._details[process_id] = detail

    def running_logs(self) -> list[Path]:
        """The log files of what was last seen running."""
        return [
            facts.log_path
            for facts in self._known.values()
            if facts.phase == "running" and facts.log_path is not None
        ]

    def written_layers(self) -> list[tuple[str, tuple[Path, ...]]]:
        """Process id and directories it writes to, of what was last seen running."""
        return [
            (process_id, facts.layers)
            for process_id, facts in self._known.items()
            if facts.phase == "running" and facts.layers
        ]

    async def of(
        self, containers: Sequence[Mapping[str, Any]]
    ) -> dict[str, tuple[Mapping[str, str], Facts]]:
        """Process id -> labels and facts of listed containers; what went meanwhile is left out."""
        found = await asyncio.gather(*(self._one(container) for container in containers))
        seen = {
            str(container["Labels"][LABEL_PROCESS]): (container["Labels"], facts)
            for container, facts in zip(containers, found, strict=True)
            if facts is not None
        }
        unsure = [key for key, (_, facts) in seen.items() if self._may_be_memory(key, facts)]
        if unsure:
            kills = await asyncio.to_thread(memory_kills)
            for key in unsure:
                labels, facts = seen[key]
                seen[key] = (labels, _judge(facts, kills))
        self._known = {key: facts for key, (_, facts) in seen.items()}
        return seen

    async def log_path(self, process_id: str, name: str) -> Path | None:
        """The engine's log file of a container; ``None`` where it is gone."""
        known = self._known.get(process_id)
        if known is not None and known.log_path is not None:
            return known.log_path
        answer = await self._engine.call("GET", f"/containers/{name}/json")
        return _path(answer.data.get("LogPath")) if answer.ok else None

    async def _one(self, container: Mapping[str, Any]) -> Facts | None:
        container_id = str(container["Id"])
        now = phase(str(container.get("State", "")))
        known = self._known.get(str(container["Labels"][LABEL_PROCESS]))
        if known is not None and known.container_id == container_id and known.listed_as == now:
            return known
        async with self._inspecting:
            answer = await self._engine.call("GET", f"/containers/{container_id}/json")
        if not answer.ok:
            return None
        state = answer.data["State"]
        phase_now = phase_of(state)
        ended = phase_now == "exited"
        detail = self._details.get(str(container["Labels"][LABEL_PROCESS]), "")
        pid = int(state.get("Pid") or 0) or None
        return Facts(
            container_id=container_id,
            phase=phase_now,
            listed_as=now,
            started_at=moment(state.get("StartedAt")),
            pid=pid,
            pid_ticks=proc_table.start_ticks(pid) if pid is not None else None,
            exit=exit_of(state, killed_for_memory=False, detail=detail) if ended else None,
            log_path=_path(answer.data.get("LogPath")),
            layers=_layers(answer.data),
        )

    def _may_be_memory(self, process_id: str, facts: Facts) -> bool:
        """Whether an exit that is new to us may be an out-of-memory kill that the engine has missed."""
        end = facts.exit
        fresh = facts is not self._known.get(process_id)
        return fresh and end is not None and end.signal == signal.SIGKILL and not end.out_of_memory


def _judge(facts: Facts, kills: Mapping[str, Sequence[datetime]]) -> Facts:
    if facts.exit is None or not was_killed(facts.container_id, facts.exit.at, kills):
        return facts
    return replace(facts, exit=replace(facts.exit, out_of_memory=True))


def _layers(inspected: Mapping[str, Any]) -> tuple[Path, ...]:
    graph = (inspected.get("GraphDriver") or {}).get("Data") or {}
    volumes = [mount.get("Source") for mount in inspected.get("Mounts") or []]
    return tuple(Path(place) for place in (graph.get("UpperDir"), *volumes) if place)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
