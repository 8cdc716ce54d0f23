"""Installation-wide decisions: what runs without a record, and network sandboxes made ahead."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

SandboxState = Literal[
    "making",  # recorded with its ports; being made
    "ready",  # can be joined by the next process of its deployment
    "taken",  # joined by a process; ends with it
    "removing",  # out of reach; being removed
]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A network namespace with its published ports, made ahead for one deployment."""

    sandbox_id: str
    deployment_id: str
    state: SandboxState
    host_ports: tuple[int, ...]
    private_ip: str | None
    process_id: str | None
    created_at: datetime
    ready_at: datetime | None


def orphans(seen_process_ids: Collection[str], recorded_live: Collection[str]) -> list[str]:
    """What carries our label and has no record that still wants it."""
    live = set(recorded_live)
    return sorted(process_id for process_id in seen_process_ids if process_id not in live)


@dataclass(frozen=True, slots=True)
class SandboxPlan:
    """What to make (how many for which deployment) and which sandboxes to remove."""

    make: Mapping[str, int]
    remove: tuple[str, ...]


def plan_sandboxes(
    latest_deployments: Collection[str],
    sandboxes: Collection[Sandbox],
    seen_sandbox_ids: Collection[str],
    seen_at: datetime,
    ahead: int,
    total_max: int,
) -> SandboxPlan:
    """Keep ``ahead`` sandboxes for each latest deployment, ``total_max`` in all; drop what nobody wants.

    ``latest_deployments`` is most recently used first. A ready sandbox that the
    listing of ``seen_at`` should show and does not is dropped: its network is gone.
    """
    wanted: dict[str, int] = {}
    left = total_max
    for deployment_id in latest_deployments:
        wanted[deployment_id] = min(ahead, left)
        left -= wanted[deployment_id]
    shown = set(seen_sandbox_ids)
    remove, kept = [], dict.fromkeys(wanted, 0)
    for sandbox in sorted(sandboxes, key=lambda s: (s.created_at, s.sandbox_id)):
        if sandbox.state == "taken":
            continue
        if sandbox.state == "removing":
            remove.append(sandbox.sandbox_id)
            continue
        lost = (
            sandbox.ready_at is not None
            and sandbox.ready_at < seen_at
            and sandbox.sandbox_id not in shown
        )
        if lost or kept.get(sandbox.deployment_id, 0) >= wanted.get(sandbox.deployment_id, 0):
            remove.append(sandbox.sandbox_id)
        else:
            kept[sandbox.deployment_id] += 1
    make = {d: wanted[d] - kept[d] for d in wanted if wanted[d] > kept[d]}
    return SandboxPlan(make, tuple(remove))
