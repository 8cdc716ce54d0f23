"""Stories of rooms and processes, beyond the contract: for `innkeeper why`. Shapes first, rows last."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from msgspec import UNSET, convert

from innkeeper.api import wire_generated as wire
from innkeeper.api.operation import Operation
from innkeeper.api.processes import read_process_id
from innkeeper.api.rooms import read_room_id
from innkeeper.api.services import Services
from innkeeper.core.accounts import Caller
from innkeeper.core.errors import InnkeeperError
from innkeeper.core.telling import fields
from innkeeper.interfaces import Context
from innkeeper.usecases import logs, stories
from innkeeper.usecases.stories import Story

LINES_MAX = 10
LINE_LENGTH_MAX = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ToldStory:
    """A story with the last lines of the log that belongs to it."""

    story: Story
    last_lines: list[str]


def _run(use_case: Callable[..., Story]) -> Callable[..., Any]:
    async def run(
        services: Services, caller: Caller, wanted: tuple[str, str], context: Context
    ) -> ToldStory:
        story = await services.store.read(lambda tx: use_case(tx, caller, wanted, context))
        return ToldStory(story, await _last_lines(services, caller, story, context))

    return run


async def _last_lines(
    services: Services, caller: Caller, story: Story, context: Context
) -> list[str]:
    """Of a log that cannot be read there are none: the story is told all the same."""
    if story.process is None or not story.log_tells:
        return []
    place = (story.app_id, story.process.process_id)
    try:
        found = await services.store.read(lambda tx: logs.find_log(tx, caller, place, context))
        pieces = services.logs.stream(found.process_id, LINES_MAX, False)
        async with aclosing(cast("AsyncGenerator[bytes, None]", pieces)):
            said = b"".join([piece async for piece in pieces])
    except InnkeeperError:
        return []
    except OSError as fault:
        log.warning("the log of process %s cannot be read: %s", story.process.process_id, fault)
        return []
    lines = said.decode(errors="replace").splitlines()[-LINES_MAX:]
    return [line[:LINE_LENGTH_MAX] for line in lines]


def write_story(told: ToldStory) -> wire.InnkeeperStory:
    """All of it."""
    story = told.story
    return wire.InnkeeperStory(
        appId=story.app_id,
        roomId=story.room_id or UNSET,
        processId=UNSET if story.process is None else story.process.process_id,
        status=story.now.status,
        now=story.now.text,
        advice=list(story.now.advice),
        whole=story.whole,
        events=[convert(fields(event), wire.InnkeeperEvent) for event in story.events],
        lastLines=told.last_lines,
    )


_READ = "processes:read"

OPERATIONS = (
    Operation("GetRoomStory", read_room_id, _run(stories.room_story), write_story, "async", _READ),
    Operation(
        "GetProcessStory", read_process_id, _run(stories.process_story), write_story, "async", _READ
    ),
)
