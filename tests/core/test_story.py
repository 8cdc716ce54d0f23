"""What people are told of rooms and processes: each event's sentence, how things stand, what to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from innkeeper.core.catalog import ContainerPort
from innkeeper.core.events import KINDS, Event
from innkeeper.core.processes import ExposedPort, Process
from innkeeper.core.rooms import Allocation, Room
from innkeeper.core.snapshot import DeploymentFacts, Limits
from innkeeper.core.story import ProcessFacts, Waiting, process_now, room_now
from innkeeper.core.telling import fields, sentence, span
from innkeeper.testing.records import new_process

T0 = datetime(2026, 1, 31, 23, 0, tzinfo=UTC)
LIMITS = Limits()
PORTS = (ContainerPort("default", 7777, "udp"),)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def process(**changes: Any) -> Process:
    bare = {
        "process_id": "1a2b3c4d-0000-4000-8000-000000000000",
        "app_id": "app-1",
        "org_id": "org-1",
        "deployment_id": "dep-1",
        "rooms_per_process": 2,
        "memory_mb": 512,
        "scheduled_at": None,
        "exposed_ports": (ExposedPort("default", "play.test", 20001, "udp"),),
    }
    return new_process(T0, **(bare | changes))


def facts(failures: int = 0, last: datetime | None = None, **changes: Any) -> ProcessFacts:
    deployment = DeploymentFacts("dep-1", 7777, True, failures, last)
    why = "Exited with code 3" if failures else None
    return ProcessFacts(process(**changes), deployment, PORTS, why)


def room(status: Any = "active", reason: str | None = None) -> Room:
    current = None
    if status == "active":
        current = Allocation("alloc-1", process().process_id, T0, None)
    over = at(60) if status == "destroyed" else None
    return Room("abc", "app-1", "Tokyo", None, status, current, (), T0, over, reason)


STARTED = {"attempted_at": T0, "booted_at": T0, "started_at": at(1)}
TOLD: list[tuple[ProcessFacts, float, str, str]] = [
    (facts(), 1, "recorded 1 s ago and goes to the runtime next", ""),
    (facts(), 30, "goes to the runtime next", "whether a server reconciles"),
    (
        facts(3, at(-1)),
        1,
        "3 starts of deployment dep-1 failed (Exited with code 3), so process 1a2b3c4d starts in 2 s",
        "A deployment that is mended starts at once",
    ),
    (facts(attempted_at=T0), 3, "asked 3 s ago to start process 1a2b3c4d", ""),
    (facts(attempted_at=T0), 60, "given up after 5 min", "the engine may be away"),
    (
        facts(attempted_at=T0, booted_at=T0),
        40,
        "has run for 40 s, and has not bound port 7777/udp yet: it has 1 min more (of 1 min 40 s)",
        "must listen on 0.0.0.0, port 7777/udp",
    ),
    (facts(**STARTED), 61, "has been ready for 1 min, with 1 of 2 rooms", ""),
    (
        facts(**STARTED, rooms_allocated=0, idle_since=at(10)),
        20,
        "stops in 4 min 50 s unless a room or a player comes",
        "",
    ),
    (
        facts(**STARTED, draining=True, drain_reason="Replaced by a newer deployment"),
        20,
        "takes no new ones: Replaced by a newer deployment.",
        "",
    ),
    (
        facts(
            **STARTED, stopping_at=at(9), term_sent_at=at(10), stop_reason="Stopped by API request"
        ),
        20,
        "told to stop 11 s ago: Stopped by API request. It got SIGTERM, and is killed in 20 s",
        "",
    ),
    (
        facts(**STARTED, terminated_at=at(10), failed=True, summary_exit_reason="Out of memory"),
        70,
        "ended 1 min ago: Out of memory.",
        "more than its 512 MB",
    ),
    (
        facts(
            **STARTED, terminated_at=at(10), failed=True, summary_exit_reason="Exited with code 3"
        ),
        70,
        "ended 1 min ago: Exited with code 3.",
        "`innkeeper logs 1a2b3c4d`",
    ),
]


@pytest.mark.parametrize(("facts_", "after_s", "text", "advice"), TOLD)
def test_how_a_process_stands(facts_: ProcessFacts, after_s: float, text: str, advice: str) -> None:
    now = process_now(facts_, LIMITS, at(after_s))
    assert text in now.text
    assert advice in "\n".join(now.advice)
    assert bool(advice) == bool(now.advice)


def test_how_a_room_stands() -> None:
    def told(*asked: Any) -> str:
        now = room_now(*asked, LIMITS, at(70))
        return f"{now.status}: {now.text} {' '.join(now.advice)}"

    running, crashed = facts(**STARTED), "process ended: Killed by signal 11"
    assert told(room(), running, None).startswith(
        "active: Room abc is in play at play.test:20001/udp, on process 1a2b3c4d."
    )
    starting = facts(attempted_at=T0, booted_at=T0)
    assert told(room(), starting, None).startswith(
        "starting: Players of room abc cannot join yet. Process 1a2b3c4d has run for 1 min 10 s"
    )
    over = told(room("destroyed", crashed), running, None)
    assert over.startswith(
        "destroyed: Room abc ended 10 s ago: process ended: Killed by signal 11."
    )
    assert "The game crashed, and took its players with it" in over
    asked = told(room("destroyed", "destroyed by API request"), running, None)
    assert "look for who calls DestroyRoom" in asked
    waiting = Waiting("The machine is full: memory", at(100), 2)
    assert told(room("scheduling"), None, waiting).startswith(
        "scheduling: Room abc waits for capacity, 30 s more at most: The machine is full: memory. "
        "2 rooms wait before it."
    )
    assert told(room("suspended"), None, None).startswith("suspended: Room abc is on no process")


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_is_a_sentence(kind: Any) -> None:
    event = Event(0, 7, T0, "org-1", "app-1", "abc", process().process_id, kind, None)
    assert sentence(event).endswith(".")
    assert "{" not in sentence(event)
    caused = sentence(replace(event, cause="for a reason"))
    assert caused.endswith(": for a reason.")


def test_an_event_as_it_is_sent() -> None:
    event = Event(5, 7, at(0.25), "org-1", "app-1", "abc", None, "room.destroyed", "a reason")
    assert fields(event) == {
        "id": "5-7",
        "at": "2026-01-31T23:00:00.250Z",
        "kind": "room.destroyed",
        "cause": "a reason",
        "orgId": "org-1",
        "appId": "app-1",
        "roomId": "abc",
        "text": "Room abc ended: a reason.",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.25, "0.25 s"),
        (9.9999, "10 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (3600 * 76, "3 d 4 h"),
        (59.7, "1 min"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text
