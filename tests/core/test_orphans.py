"""What runs without a record, and how many network sandboxes are made ahead."""

from dataclasses import dataclass, replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.core.orphans import Sandbox, SandboxPlan, SandboxState, orphans, plan_sandboxes
from innkeeper.testing.records import NOON

NAMES = st.sampled_from([f"p{i}" for i in range(8)])
DEPLOYMENTS = [f"dep-{i}" for i in range(4)]


@given(st.sets(NAMES), st.sets(NAMES))
def test_an_orphan_is_seen_and_not_recorded(seen: set[str], recorded: set[str]) -> None:
    found = orphans(seen, recorded)
    assert set(found) == seen - recorded
    assert found == sorted(found)


@dataclass(frozen=True)
class Scene:
    """What a plan is made from."""

    wanted: list[str]
    sandboxes: list[Sandbox]
    shown: frozenset[str]
    ahead: int
    total_max: int

    def plan(self) -> SandboxPlan:
        return plan_sandboxes(
            self.wanted, self.sandboxes, self.shown, NOON, self.ahead, self.total_max
        )

    def carried_out(self) -> "Scene":
        """The scene once the plan has been followed: all made, all removed, all shown."""
        plan = self.plan()
        left = [
            replace(s, state="ready", ready_at=NOON) if s.state == "making" else s
            for s in self.sandboxes
            if s.sandbox_id not in plan.remove
        ]
        left += [
            Sandbox(f"new-{d}-{n}", d, "ready", (1,), None, None, NOON, NOON)
            for d, count in plan.make.items()
            for n in range(count)
        ]
        return replace(self, sandboxes=left, shown=frozenset(s.sandbox_id for s in left))

    def spare(self) -> list[Sandbox]:
        return [s for s in self.sandboxes if s.state != "taken"]


def sandbox(name: str, deployment_id: str, state: SandboxState, age_s: int) -> Sandbox:
    """``age_s`` before noon; a negative age is after it. A made one was ready a second later."""
    made = NOON - timedelta(seconds=age_s)
    ready_at = None if state == "making" else made + timedelta(seconds=1)
    return Sandbox(name, deployment_id, state, (20001,), None, None, made, ready_at)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    states: list[SandboxState] = ["making", "ready", "taken", "removing"]
    one = st.builds(
        sandbox,
        name=st.uuids().map(str),
        deployment_id=st.sampled_from(DEPLOYMENTS),
        state=st.sampled_from(states),
        age_s=st.integers(-2, 3),
    )
    sandboxes = draw(st.lists(one, max_size=10))
    shown = frozenset(s.sandbox_id for s in sandboxes if draw(st.booleans()))
    wanted = draw(st.lists(st.sampled_from(DEPLOYMENTS), unique=True))
    return Scene(wanted, sandboxes, shown, draw(st.integers(0, 3)), draw(st.integers(0, 6)))


@given(scenes())
def test_a_plan_is_bounded_and_leaves_what_is_taken(scene: Scene) -> None:
    plan = scene.plan()
    taken = {s.sandbox_id for s in scene.sandboxes if s.state == "taken"}
    assert not taken & set(plan.remove)
    assert len(set(plan.remove)) == len(plan.remove)
    spare = scene.carried_out().spare()
    assert len(spare) <= scene.total_max
    for deployment_id in DEPLOYMENTS:
        count = sum(s.deployment_id == deployment_id for s in spare)
        assert count <= (scene.ahead if deployment_id in scene.wanted else 0)


@given(scenes())
def test_the_plan_reaches_its_aim_and_then_rests(scene: Scene) -> None:
    after = scene.carried_out()
    assert len(after.spare()) == min(scene.ahead * len(scene.wanted), scene.total_max)
    assert after.plan() == SandboxPlan({}, ())


@given(scenes())
def test_a_ready_sandbox_is_dropped_when_a_later_listing_does_not_show_it(scene: Scene) -> None:
    removed = set(scene.plan().remove)
    for s in scene.sandboxes:
        if s.state == "ready" and s.ready_at is not None and s.sandbox_id not in scene.shown:
            assert s.sandbox_id in removed or s.ready_at >= NOON


@given(scenes())
def test_what_is_being_removed_is_removed_until_it_is_gone(scene: Scene) -> None:
    removing = {s.sandbox_id for s in scene.sandboxes if s.state == "removing"}
    assert removing <= set(scene.plan().remove)


def test_one_made_since_the_listing_began_is_not_missing() -> None:
    fresh = sandbox("s", "dep-0", "ready", age_s=-1)
    assert plan_sandboxes(["dep-0"], [fresh], [], NOON, 1, 1) == SandboxPlan({}, ())


def test_the_latest_used_deployment_is_served_first() -> None:
    plan = plan_sandboxes(["dep-2", "dep-0"], [], [], NOON, ahead=2, total_max=3)
    assert plan == SandboxPlan({"dep-2": 2, "dep-0": 1}, ())
