"""``make chaos ROUNDS=20``: the simulation's promise for real; exit status 1 where anything was lost.

Real games, real players, and faults by a seeded plan. Each round: faults while callers create and end rooms,
then rest, then every check.
"""

import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click

from innkeeper.runtime import engine_leftovers
from innkeeper.runtime.mounts import unmount_below
from innkeeper.testing import chaos_checks, chaos_faults, host_facts
from innkeeper.testing.chaos_faults import Outcome
from innkeeper.testing.chaos_ledger import Ledger, LossKind
from innkeeper.testing.chaos_load import Load
from innkeeper.testing.chaos_plan import Round, plan
from innkeeper.testing.chaos_scene import NotInService, Player, Scene
from innkeeper.testing.chaos_store import ChaosStore, StoreName, store_of
from innkeeper.testing.live import LiveServer, claimed_ports

SETTINGS = {
    "INNKEEPER_PORT_REST_S": "1",
    "INNKEEPER_STOP_GRACE_S": "5",
    "INNKEEPER_CPU_OVERCOMMIT": "50",
}
# Who plays from the first round to the last, each on a process of its own.
LASTING_REGIONS = ("London", "Tokyo")
ROUND_REGION = "Sydney"
FIGURES: dict[LossKind, str] = {
    "player cut": "players cut",
    "room lost": "rooms lost",
    "port leaked": "ports leaked",
    "container leaked": "containers leaked",
    "promise broken": "other promises broken",
}


@dataclass(slots=True)
class Report:
    """What a run has come to."""

    rounds: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    outcomes: list[Outcome] = field(default_factory=list)

    def line(self) -> str:
        """The one line of figures."""
        counted = Counter(outcome.fault.kind for outcome in self.outcomes)
        faults = ", ".join(f"{kind} {count}" for kind, count in sorted(counted.items()))
        back = sorted(outcome.back_s for outcome in self.outcomes) or [0.0]
        lost = ", ".join(f"{words} {self.ledger.count(kind)}" for kind, words in FIGURES.items())
        return (
            f"chaos: rounds {self.rounds}, faults {{{faults}}}, rooms accepted {len(self.ledger.accepted)}, "
            f"{lost}, back to service p50 {back[len(back) // 2]:.2f} s, max {back[-1]:.2f} s"
        )


class Chaos:
    """One run on one scene."""

    def __init__(self, scene: Scene, report: Report) -> None:
        self.scene = scene
        self.report = report
        scene.ledger = report.ledger

    async def run(self, rounds: Sequence[Round]) -> None:
        """All rounds, then the end of everything."""
        async with AsyncExitStack() as players:
            for region in LASTING_REGIONS:
                await players.enter_async_context(self.scene.playing(region))
            for each in rounds:
                await self.round(each)
        await self._end()

    async def round(self, each: Round) -> None:
        """Faults under load, rest, checks."""
        click.echo(f"round {each.number}: {'; then '.join(map(str, each.faults))}")
        begun, outcomes = time.monotonic(), []
        async with AsyncExitStack() as players:
            await players.enter_async_context(self.scene.playing(ROUND_REGION))
            victims = [
                await players.enter_async_context(self.scene.playing(chaos_faults.VICTIMS_REGION))
                for fault in each.faults
                if fault.kind == "game dies"
            ]
            outcomes = await self._under_load(each, victims)
            await self.checked()
        self.report.rounds += 1
        self.report.outcomes += outcomes
        back = ", ".join(f"{outcome.back_s:.2f} s" for outcome in outcomes)
        accepted = len(self.scene.ledger.accepted)
        click.echo(
            f"  back after {back}; {accepted} rooms accepted so far; {time.monotonic() - begun:.1f} s"
        )
        await self._clear()

    async def checked(self) -> None:
        """Every check, at rest."""
        now, seen = await chaos_checks.rest(self.scene)
        await asyncio.to_thread(chaos_checks.check, self.scene, now, seen)

    async def _under_load(self, each: Round, victims: list[Player]) -> list[Outcome]:
        scene = self.scene
        spared = {player.room_id for player in scene.players}
        load = Load(scene.server, scene.app_id, scene.ledger, each, spared)
        calling = asyncio.create_task(load.run())
        outcomes = []
        try:
            for fault in each.faults:
                victim = victims.pop() if fault.kind == "game dies" else None
                outcomes.append(await chaos_faults.perform(fault, scene, victim))
        finally:
            load.finish()
            await calling
        return outcomes

    async def _clear(self) -> None:
        """End what callers left, so that the rounds do not fill the machine; lasting players play on."""
        scene, lasting = self.scene, {player.process_id for player in self.scene.players}
        now = await scene.facts()
        async with scene.client() as http:
            for process in now.processes:
                if process.terminated_at is None and process.process_id not in lasting:
                    scene.ledger.stopped.add(process.process_id)
                    path = f"/processes/v3/apps/{scene.app_id}/processes/{process.process_id}/stop"
                    (await http.post(path)).raise_for_status()

    async def _end(self) -> None:
        scene = self.scene
        scene.ledger.doomed |= scene.ledger.accepted.keys()
        async with scene.client() as http:
            (await http.delete(f"/apps/v2/apps/{scene.app_id}")).raise_for_status()
        now, seen = await chaos_checks.rest(scene)
        if seen.processes or seen.sandboxes:
            scene.ledger.lose("container leaked", f"at the end: {seen}")
        done = await asyncio.to_thread(scene.server.down)
        if done.returncode:
            scene.ledger.lose("promise broken", f"down: {done.stdout}{done.stderr}")
        await asyncio.to_thread(chaos_checks.check_end, scene, now)


async def run(
    runtime: str,
    folder: Path,
    store: ChaosStore,
    seed: int,
    rounds: int,
    only: Collection[str] = (),
) -> Report:
    """A whole run below ``folder``. Whatever happens, nothing that it started is left."""
    report = Report()
    with claimed_ports() as ports:
        settings = {**SETTINGS, "INNKEEPER_DATABASE": store.url}
        server = LiveServer(runtime, folder / "data", ports, settings)
        scene = Scene(server, store)
        try:
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(scene.deploy)
            kinds, skipped = chaos_faults.possible(scene)
            for reason in skipped:
                click.echo(f"WARNING: SKIPPED {reason}")
            wanted = [kind for kind in kinds if kind in only or not only]
            await Chaos(scene, report).run(plan(seed, rounds, wanted))
        except NotInService as error:
            report.ledger.lose("promise broken", f"{error}; its log:\n{server.said()[-8000:]}")
        finally:
            if (await asyncio.to_thread(server.down)).returncode:
                await asyncio.to_thread(_end_by_force, server.data_dir)
    return report


def _end_by_force(data_dir: Path) -> None:
    """A fault of the program shall leave nothing on the machine that looks for it."""
    host_facts.end_by_force(data_dir)
    engine_leftovers.clear_networks(data_dir / "engine")
    unmount_below(data_dir)


@click.command()
@click.option("--rounds", default=20, show_default=True, help="How many rounds.")
@click.option("--seed", type=int, default=None, help="Of the plan; a new one unless given.")
@click.option("--runtime", type=click.Choice(["container", "process"]), default="container")
@click.option("--store", "kind", type=click.Choice(["sqlite", "postgresql"]), default="sqlite")
@click.option("--fault", "only", multiple=True, help="Only faults of this kind. May be repeated.")
def main(
    rounds: int, seed: int | None, runtime: str, kind: StoreName, only: tuple[str, ...]
) -> None:
    """Break a real installation again and again, and see that nothing is lost."""
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    # SIGTERM cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    again = f"SEED={seed} ROUNDS={rounds} RUNTIME={runtime} STORE={kind}"
    click.echo(f"chaos in the {runtime} runtime on {kind}; the same plan again: {again}")
    with tempfile.TemporaryDirectory(prefix="innkeeper-chaos-") as place:
        folder = Path(place)
        with store_of(kind, folder / "store") as store:
            report = asyncio.run(run(runtime, folder, store, seed, rounds, only))
    click.echo(report.line())
    if report.ledger.losses:
        click.echo(f"the same plan again: {again}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
