"""From a request to an answer: find the row, say who calls, read, run, write. Knows no web framework.

Checks come in the order of behaviour.md 9: 401, 404 of the app, 422, then what the use case finds.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from innkeeper.api import auth, errors
from innkeeper.api.contract import Contract, Declaration
from innkeeper.api.deadlines import Deadlines
from innkeeper.api.meters import Meters, RouteMeter
from innkeeper.api.operation import ANY_CALLER, Operation, Raw, Stream, bind
from innkeeper.api.rate_limits import RateLimit, TokenLimit, address_key
from innkeeper.api.reading import Reader, query_texts, value_at
from innkeeper.api.request import ClientLeft, Incoming, Request
from innkeeper.api.routing import Match, Router, WrongMethod
from innkeeper.api.services import Services
from innkeeper.api.shortages import Shortages
from innkeeper.api.writing import Writer
from innkeeper.core.accounts import Caller
from innkeeper.core.errors import (
    InnkeeperError,
    Invalid,
    NoCapacity,
    NotImplementedYet,
    TimedOut,
)
from innkeeper.core.players import Player
from innkeeper.interfaces import LockKey, Tx
from innkeeper.usecases.callers import identify
from innkeeper.usecases.players import authenticate_player

BODY_BYTES_MAX = 2 * 1024**2
OPERATION_TIMEOUT_S = 60.0  # behaviour.md 9: 408 when not received or not finished by then


@dataclass(slots=True)
class Reply:
    """An answer for the transport: ``body``, or ``chunks`` where it is streamed."""

    status: int
    media_type: str | None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: AsyncIterator[bytes] | None = None


@dataclass(slots=True)
class _Route:
    """A declared operation, ready to serve."""

    declaration: Declaration
    row: Operation | None
    reader: Reader
    writer: Writer
    meter: RouteMeter
    statuses: frozenset[int]
    names_org: bool
    limit: RateLimit | TokenLimit | None
    json: bool  # it takes a JSON body
    hurried: (
        bool  # one time limit for all of it; where a body is streamed, each piece has one instead
    )


class Dispatch:
    """Serves every operation of the contract and the extensions."""

    def __init__(
        self,
        contract: Contract,
        rows: Iterable[Operation],
        services: Services,
        timeout_s: float = OPERATION_TIMEOUT_S,
    ) -> None:
        """Raises ``ValueError`` where the rows and the contract do not fit; see :func:`bind`."""
        self.services = services
        self.meters = Meters()
        self._deadlines = Deadlines(timeout_s)
        self._shortages = Shortages(services)
        self._router: Router[_Route] = Router()
        for declaration, row in bind(contract, rows).values():
            route = self._route(contract, declaration, row)
            self._router.add(declaration.method, declaration.path, route)

    def _route(self, contract: Contract, declaration: Declaration, row: Operation | None) -> _Route:
        body = declaration.body
        return _Route(
            declaration=declaration,
            row=row,
            reader=Reader(contract, declaration),
            writer=Writer(contract, declaration.reply_schema),
            meter=self.meters.of(declaration.operation_id),
            statuses=declaration.errors | {declaration.status},
            names_org=(row is None or row.scope != ANY_CALLER)
            and any(parameter.name == "orgId" for parameter in declaration.parameters),
            limit=self.services.rate_limits.of(declaration),
            json=body is not None and body.kind == "json",
            hurried=body is None or body.kind == "json",
        )

    async def answer(self, incoming: Incoming) -> Reply:
        """The answer, always: errors become answers here."""
        found = self._router.find(incoming.method, incoming.raw_path)
        if isinstance(found, Match):
            began = time.perf_counter()
            reply = await self._caught(found.route, found.values, incoming)
            found.route.meter.count(reply.status, time.perf_counter() - began)
            return reply
        if isinstance(found, WrongMethod):
            allowed = ", ".join(found.allowed)
            body = errors.body_of(f"{incoming.method} is not allowed here; allowed: {allowed}")
            return Reply(405, "application/json", body, {"allow": allowed})
        return Reply(404, "application/json", errors.body_of("No such path"))

    async def _caught(self, route: _Route, values: dict[str, str], incoming: Incoming) -> Reply:
        """Run within the time limit, and turn what is raised into an answer."""
        task = asyncio.current_task() if route.hurried else None
        if task is not None:
            self._deadlines.start(task)
        seen = _Seen(values, incoming.raw_query)
        fault: BaseException
        try:
            return await self._served(route, values, incoming, seen)
        except ClientLeft:
            raise
        except asyncio.CancelledError:
            if task is None or not self._deadlines.expired(task):
                raise  # somebody else's doing: the server stops
            fault = TimedOut("Request timed out")
        except InnkeeperError as error:
            fault = error
        except Exception as error:  # noqa: BLE001 - answered as 500 and logged with its story
            fault = error
        finally:
            if task is not None:
                self._deadlines.end(task)
        value = seen.value_at(fault.field) if isinstance(fault, Invalid) else None
        error_id = self.services.ids.uuid()[:8]
        wrong = errors.answer(fault, route.statuses, error_id, value)
        return Reply(wrong.status, "application/json", wrong.body, wrong.headers)

    async def _served(
        self, route: _Route, values: dict[str, str], incoming: Incoming, seen: "_Seen"
    ) -> Reply:
        """Read, say who calls, run, write. What is wrong with the request is told to callers only."""
        row, store = route.row, self.services.store
        if row is None:
            raise NotImplementedYet(f"{route.declaration.operation_id} is not implemented yet")
        security = route.declaration.security
        if security != "none":
            seen.token = auth.token_of(incoming.headers)
        if route.limit is not None:
            route.limit.take(seen.token if security == "org" else address_key(incoming.client))
        try:
            request = _request(route, values, incoming)
            if route.json:
                seen.body = await incoming.read(BODY_BYTES_MAX)
                request.body = route.reader.body(seen.body)
            wanted = row.read(request)
        except InnkeeperError:
            now = self.services.clock()
            try:
                await store.read(lambda tx: _refuse_strangers(tx, route, seen, values, now))
            finally:
                _learn_rate(route, seen)
            raise
        try:
            result = await self._ran(route, row, seen, request, wanted)
        except NoCapacity as full:
            await self._shortages.note(full)
            raise
        finally:
            _learn_rate(route, seen)
        return _reply(route, row.write(result))

    async def _ran(
        self, route: _Route, row: Operation, seen: "_Seen", request: Request, wanted: Any
    ) -> Any:
        """The use case, in the way its row's kind says.

        Who calls is looked up in the use case's own transaction: one of its own costs as much as all the
        rest of a request, and a token that was revoked meanwhile would still count.
        """
        services = self.services
        context = services.context()

        def in_transaction(tx: Tx) -> Any:
            return row.run(tx, _caller(tx, route, seen, request, context.now), wanted, context)

        if row.kind == "read":
            return await services.store.read(in_transaction)
        waiting = row.waiting if "wait" in request.query else None
        if row.kind == "async" or waiting is not None:
            caller = None
            if seen.token is not None:
                caller = await services.store.read(
                    lambda tx: _caller(tx, route, seen, request, context.now)
                )
                _learn_rate(route, seen)  # before what may take minutes
            if waiting is None:
                result = await row.run(services, caller, wanted, context)
            else:
                result = await self._waited(request, waiting(services, caller, wanted, context))
        else:
            locks = await self._locks(row, request, wanted)
            result = await services.store.write(in_transaction, locks)
        services.wake_for(context)
        return result

    async def _waited(self, request: Request, answer: Awaitable[Any]) -> Any:
        """What comes of ``answer``, however long it takes. Raises :class:`ClientLeft`."""
        task = asyncio.current_task()
        assert task is not None, "every request has a task"
        self._deadlines.free(task)
        work = asyncio.ensure_future(answer)
        gone = asyncio.ensure_future(request.left())
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ClientLeft
            return work.result()
        finally:
            for each in (work, gone):
                each.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _locks(self, row: Operation, request: Request, wanted: Any) -> Collection[LockKey]:
        if row.locks is not None:
            return row.locks(request, wanted, self.services.policy)
        find = row.finds_locks
        return () if find is None else await self.services.store.read(lambda tx: find(tx, wanted))


@dataclass(slots=True)
class _Seen:
    """What was received so far, to show the value at a bad field; and who was seen to call.

    ``rated`` is the org token's holder until the token's rate is learned: never in a transaction, which may
    run twice.
    """

    path: dict[str, str]
    raw_query: bytes
    body: bytes = b""
    token: str | None = None
    rated: Caller | None = None

    def value_at(self, field: str) -> Any:
        return value_at(field, self.path, query_texts(self.raw_query), self.body)


def _learn_rate(route: _Route, seen: _Seen) -> None:
    """Keep in mind how often the token that was looked up may call."""
    holder, seen.rated = seen.rated, None
    if holder is not None and isinstance(route.limit, TokenLimit):
        route.limit.learn(seen.token, holder.calls_per_second)


def _request(route: _Route, values: dict[str, str], incoming: Incoming) -> Request:
    """The request with its parameters checked; its body comes later."""
    path = route.reader.path(values)
    query = route.reader.query(incoming.raw_query)
    return Request(route.declaration.operation_id, path, query, None, incoming)


def _caller(
    tx: Tx, route: _Route, seen: _Seen, request: Request, now: datetime
) -> Caller | Player | None:
    """Who holds the token, if one is asked for: with the scope, and of the org that is named, if any."""
    if seen.token is None:
        return None
    caller = _holder(tx, route, seen, {**request.query, **request.path}, now)
    if route.names_org:
        auth.check_org(caller, request.path)
        auth.check_org(caller, request.query)
    return caller


def _holder(
    tx: Tx, route: _Route, seen: _Seen, values: Mapping[str, Any], now: datetime
) -> Caller | Player:
    token = seen.token
    assert token is not None
    if route.declaration.security == "player":
        return authenticate_player(tx, values["appId"], token, now)
    assert route.row is not None
    assert route.row.scope is not None
    caller = seen.rated = identify(tx, token, values.get("orgId"), values.get("appId"))
    if route.row.scope != ANY_CALLER:
        caller.require(route.row.scope)
    return caller


def _refuse_strangers(
    tx: Tx, route: _Route, seen: _Seen, values: dict[str, str], now: datetime
) -> None:
    """Of a bad request: 401 and the app's 404 come before what is wrong with it."""
    caller = None if seen.token is None else _holder(tx, route, seen, values, now)
    if caller is not None and route.names_org:
        auth.check_org(caller, values)
    if route.declaration.names_app:
        auth.check_app(tx, values["appId"], caller)


def _reply(route: _Route, written: Any) -> Reply:
    """The success answer, as declared."""
    declaration = route.declaration
    if isinstance(written, Stream):
        return Reply(
            declaration.status, declaration.media_type, b"", written.headers, written.chunks
        )
    if isinstance(written, Raw):
        return Reply(written.status, written.media_type, written.body, written.headers)
    if declaration.media_type is None:
        assert written is None, f"{declaration.operation_id} answers without a body"
        return Reply(declaration.status, None)
    if declaration.media_type == "text/plain":
        return Reply(declaration.status, declaration.media_type, str(written).encode())
    return Reply(declaration.status, declaration.media_type, route.writer.json(written))
