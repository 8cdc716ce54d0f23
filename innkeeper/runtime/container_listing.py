"""What the engine lists of one installation, asked again only when it may have changed.

A listing costs Podman some 2 ms a container, so what it told last is used again for a few seconds while
the kernel shows every listed process alive and nothing of ours was started or removed since.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from innkeeper.core.errors import RuntimeAway
from innkeeper.runtime import proc_table
from innkeeper.runtime.container_facts import ContainerFacts, Facts
from innkeeper.runtime.container_spec import (
    LABEL_INSTALLATION,
    LABEL_PROCESS,
    LABEL_SANDBOX,
    address_of,
)
from innkeeper.runtime.engine import Engine

_LIST_TRIES = 3
_PROCESSES_FRESH_S = 10.0
_SANDBOXES_FRESH_S = 30.0
_ENDED = ("exited", "stopped", "dead")

Processes = Mapping[str, tuple[Mapping[str, str], Facts]]  # by process id: labels, facts


@dataclass(frozen=True, slots=True)
class SandboxSeen:
    """A listed sandbox: its private address, when it was made (seconds since the epoch), and whether its
    holder has ended: then nothing is published any more."""

    address: str | None
    created_s: float
    ended: bool = False


class ContainerListing:
    """The processes and sandboxes of an installation. Raises ``RuntimeAway`` where it must ask."""

    def __init__(
        self,
        engine: Engine,
        installation: str,
        facts: ContainerFacts,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._installation = installation
        self._facts = facts
        self._monotonic = monotonic
        self._processes: Processes = {}
        self._processes_until = float("-inf")
        self._sandboxes: Mapping[str, SandboxSeen] = {}
        self._sandboxes_until = float("-inf")

    def touch(self) -> None:
        """Something may have changed: ask again. Call it when the change is done."""
        self._processes_until = self._sandboxes_until = float("-inf")

    def touch_processes(self) -> None:
        """As :meth:`touch`, where no sandbox came or went."""
        self._processes_until = float("-inf")

    async def processes(self) -> Processes:
        """What was started, ended or not."""
        if self._monotonic() < self._processes_until and self._all_alive():
            return self._processes
        # Set first: a change while we list makes the listing old as soon as it is here.
        self._processes_until = self._monotonic() + _PROCESSES_FRESH_S
        try:
            self._processes = await self._facts.of(await self.containers(LABEL_PROCESS))
        except BaseException:
            self._processes_until = float("-inf")
            raise
        return self._processes

    async def sandboxes(self) -> Mapping[str, SandboxSeen]:
        """The holders that are there, by sandbox id, joined or not."""
        if self._monotonic() < self._sandboxes_until:
            return self._sandboxes
        self._sandboxes_until = self._monotonic() + _SANDBOXES_FRESH_S
        try:
            self._sandboxes = {
                str(c["Labels"][LABEL_SANDBOX]): SandboxSeen(
                    address_of(c.get("NetworkSettings")),
                    float(c.get("Created") or 0),
                    str(c.get("State", "")).lower() in _ENDED,
                )
                for c in await self.containers(LABEL_SANDBOX)
            }
        except BaseException:
            self._sandboxes_until = float("-inf")
            raise
        return self._sandboxes

    async def containers(self, label: str) -> list[dict[str, Any]]:
        """The engine's rows of our containers that have this label, too."""
        filters = json.dumps({"label": [f"{LABEL_INSTALLATION}={self._installation}", label]})
        for _ in range(_LIST_TRIES):
            answer = await self._engine.call(
                "GET", "/containers/json", params={"all": True, "filters": filters}
            )
            if answer.ok:
                return list(answer.data or [])
            # Podman fails the whole listing where a container goes while it is read.
        raise RuntimeAway(f"the containers cannot be listed: {answer.message}")

    def _all_alive(self) -> bool:
        return all(
            facts.pid is not None
            and facts.pid_ticks is not None
            and proc_table.alive(facts.pid, facts.pid_ticks)
            for _, facts in self._processes.values()
            if facts.phase == "running"
        )
