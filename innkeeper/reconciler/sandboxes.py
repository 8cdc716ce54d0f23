"""Keeps network sandboxes ready: made ahead for latest deployments, removed when nobody wants them."""

import logging
from collections.abc import Mapping
from datetime import datetime

from innkeeper.core.errors import Exhausted, PortTaken
from innkeeper.core.orphans import Sandbox, plan_sandboxes
from innkeeper.interfaces import Context, SandboxSpec, Tx
from innkeeper.reconciler.patience import answered
from innkeeper.reconciler.perform import Surroundings
from innkeeper.reconciler.specs import port_specs
from innkeeper.usecases import lifecycle, sandboxes

log = logging.getLogger(__name__)


class SandboxKeeper:
    """One pass at a time, one sandbox at a time: a start that a player waits for comes first."""

    def __init__(self, around: Surroundings, ahead: int, total_max: int) -> None:
        self._around = around
        self._ahead = ahead
        self._total_max = total_max

    async def keep(
        self, seen: set[str], seen_at: datetime, ended: frozenset[str] = frozenset()
    ) -> bool:
        """Bring the sandboxes closer to the plan. True: one was made, and there may be more to do.

        ``seen`` are the living sandboxes that the listing begun at ``seen_at`` shows.
        """
        wanted = await self._around.store.read(sandboxes.load)
        for sandbox_id in sorted((seen | ended) - {s.sandbox_id for s in wanted.sandboxes}):
            log.info("sandbox %s has no record: removing it", sandbox_id)
            await answered(self._around.runtime.remove_sandbox(sandbox_id))
        plan = plan_sandboxes(
            list(wanted.deployments),
            wanted.sandboxes,
            seen,
            seen_at,
            self._ahead,
            self._total_max,
        )
        for sandbox_id in plan.remove:
            await self._remove(sandbox_id)
        for sandbox in wanted.sandboxes:
            # One that was begun before a crash is made again: the same name, the same ports.
            if sandbox.state == "making" and sandbox.sandbox_id not in plan.remove:
                await self._make(sandbox, wanted)
        return await self._make_one_more(plan.make, wanted)

    async def _make_one_more(self, make: Mapping[str, int], wanted: sandboxes.Wanted) -> bool:
        for deployment_id in make:
            count = len(wanted.deployments[deployment_id])

            def plan(tx: Tx, context: Context, d: str = deployment_id, n: int = count) -> Sandbox:
                return sandboxes.plan_one(tx, d, n, context)

            try:
                sandbox = await self._around.record(plan)
            except Exhausted:
                return False
            await self._make(sandbox, wanted)
            return True
        return False

    async def _make(self, sandbox: Sandbox, wanted: sandboxes.Wanted) -> None:
        around = self._around
        ports = port_specs(wanted.deployments[sandbox.deployment_id], sandbox.host_ports)
        spec = SandboxSpec(sandbox.sandbox_id, sandbox.deployment_id, ports)
        try:
            private_ip = await answered(around.runtime.make_sandbox(spec))
        except PortTaken as taken:
            port = taken.port
            await self._remove(sandbox.sandbox_id)
            await around.record(lambda tx, c: lifecycle.quarantine_port(tx, port, c))
            return
        await around.record(
            lambda tx, c: sandboxes.mark_ready(tx, sandbox.sandbox_id, private_ip, c.now)
        )

    async def _remove(self, sandbox_id: str) -> None:
        around = self._around
        if not await around.record(lambda tx, c: sandboxes.claim_for_removal(tx, sandbox_id)):
            return
        await answered(around.runtime.remove_sandbox(sandbox_id))
        await around.record(lambda tx, c: sandboxes.record_removed(tx, sandbox_id, c))
