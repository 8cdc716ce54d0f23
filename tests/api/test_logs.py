"""LogsV1 over the API: what is streamed, what is refused, what has expired."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.ids import Ids
from innkeeper.interfaces import LogSource
from innkeeper.telemetry.logs import ProcessLogs
from innkeeper.usecases import lifecycle, logs, processes

Shop = Any


class Bench:
    """A shop whose processes write into files of the test's own."""

    def __init__(self, shop: Shop, place: Path) -> None:
        self.shop = shop
        self.place = place
        self.logs = ProcessLogs(place / "kept", self.resolve, clock=shop.studio.clock)
        shop.house.services.logs = self.logs

    async def resolve(self, process_id: str) -> LogSource | None:
        path = self.place / process_id
        return LogSource(path, "raw") if path.exists() else None

    async def process(self, text: str = "") -> str:
        studio = self.shop.studio
        made = await studio.ask(processes.create_process, (studio.app_id, "Tokyo"))
        (self.place / made.process_id).write_text(text)
        return str(made.process_id)

    async def end(self, process_id: str) -> None:
        studio = self.shop.studio
        await studio.store.write(
            lambda tx: lifecycle.record_terminated(tx, process_id, None, studio.context())
        )

    async def keep(self, process_id: str) -> None:
        studio = self.shop.studio
        await self.logs.keep(process_id, await self.resolve(process_id))
        await studio.store.write(
            lambda tx: lifecycle.record_removed(tx, process_id, studio.context())
        )
        (self.place / process_id).unlink()

    async def get(self, process_id: str, **query: Any) -> str:
        values = {"appId": self.shop.app, "processId": process_id}
        reply = await self.shop.call("GetLogsForProcess", values, params=query)
        assert reply.status_code == 200
        return str(reply.text)

    async def status(self, operation_id: str, process_id: str, **query: Any) -> tuple[int, str]:
        values = {"appId": self.shop.app, "processId": process_id, "deploymentId": process_id}
        reply = await self.shop.call(operation_id, values, params=query)
        return reply.status_code, reply.json()["message"]


@pytest.fixture
async def bench(shop: Shop, tmp_path: Path) -> Bench:
    await shop.studio.deploy()
    (tmp_path / "held").mkdir()
    return Bench(shop, tmp_path / "held")


def lines(count: int) -> str:
    return "".join(f"line {n}\n" for n in range(count))


async def test_the_last_lines_while_it_runs_and_after(bench: Bench) -> None:
    process_id = await bench.process(lines(300))
    for _ in range(2):
        assert await bench.get(process_id) == lines(300)[len(lines(200)) :]
        assert await bench.get(process_id, tailLines=2) == "line 298\nline 299\n"
        assert await bench.get(process_id, tailLines=5000) == lines(300)
        if (bench.place / process_id).exists():
            await bench.end(process_id)
            await bench.keep(process_id)


async def test_follow_ends_when_the_process_has(bench: Bench) -> None:
    process_id = await bench.process("one\n")
    reading = asyncio.create_task(bench.get(process_id, follow="true"))
    async with asyncio.timeout(10):
        while not bench.logs.followed(process_id):
            await asyncio.sleep(0)
    with (bench.place / process_id).open("a") as file:
        file.write("two\n")
    await bench.end(process_id)
    await bench.keep(process_id)
    async with asyncio.timeout(10):
        assert await reading == "one\ntwo\n"
        assert await bench.get(process_id, follow="true") == "one\ntwo\n"


async def test_follow_of_what_is_long_gone_does_not_wait(bench: Bench) -> None:
    process_id = await bench.process("x")
    await bench.end(process_id)
    await bench.keep(process_id)
    await bench.logs.prune({process_id: bench.shop.studio.clock.now.replace(year=2040)})
    async with asyncio.timeout(10):
        assert await bench.get(process_id, follow="true") == ""


async def test_download_is_for_what_has_ended(bench: Bench) -> None:
    process_id = await bench.process(lines(300))
    values = {"appId": bench.shop.app, "processId": process_id}
    assert await bench.status("DownloadLogForProcess", process_id) == (
        400,
        f'Process "{process_id}" has not ended; only a whole log can be downloaded',
    )
    await bench.end(process_id)
    for _ in range(2):
        reply = await bench.shop.call("DownloadLogForProcess", values)
        assert (reply.status_code, reply.text) == (200, lines(300))
        assert reply.headers["content-disposition"] == (f'attachment; filename="{process_id}.log"')
        if (bench.place / process_id).exists():
            await bench.keep(process_id)


@pytest.mark.parametrize("operation_id", ["GetLogsForProcess", "DownloadLogForProcess"])
async def test_unknown_and_expired(bench: Bench, operation_id: str) -> None:
    unknown = Ids(lambda bits: 1).uuid()
    assert await bench.status(operation_id, unknown) == (404, f'Process "{unknown}" not found')
    process_id = await bench.process("x")
    await bench.end(process_id)
    bench.shop.studio.clock.move(72 * 3600 + 1)
    assert await bench.status(operation_id, process_id) == (
        410,
        f"Logs for process {process_id} have expired",
    )


async def test_an_org_may_keep_its_logs_longer(bench: Bench) -> None:
    studio = bench.shop.studio
    process_id, other = await bench.process("x"), await bench.process("y")
    assert (
        await studio.store.read(
            lambda tx: logs.retention_cuts(tx, [process_id, "unknown"], studio.clock.now)
        )
        == {}
    )
    await bench.end(process_id)
    await studio.store.write(
        lambda tx: tx.run("logs.set_retention", hours=100, org_id=studio.caller.org_id)
    )
    studio.clock.move(90 * 3600)
    assert await bench.get(process_id) == "x\n"
    cuts = await studio.store.read(
        lambda tx: logs.retention_cuts(tx, [process_id, other], studio.clock.now)
    )
    assert {(studio.clock.now - cut).total_seconds() for cut in cuts.values()} == {360_000}
    studio.clock.move(11 * 3600)
    assert (await bench.status("GetLogsForProcess", process_id))[0] == 410


@pytest.mark.parametrize("tail", ["0", "5001", "many"])
async def test_tail_lines_out_of_bounds(bench: Bench, tail: str) -> None:
    process_id = await bench.process("x")
    status, message = await bench.status("GetLogsForProcess", process_id, tailLines=tail)
    assert status == 400
    assert "tailLines" in message


async def test_the_old_routes_put_the_process_in_front(bench: Bench) -> None:
    first, second = await bench.process("a\nb\n"), await bench.process("c\n")
    reply = await bench.shop.call("GetLogsForApp", {"appId": bench.shop.app})
    assert sorted(reply.text.splitlines()) == sorted(
        [f"[{first}] a", f"[{first}] b", f"[{second}] c"]
    )
    values = {"appId": bench.shop.app, "deploymentId": "1"}
    assert (await bench.shop.call("GetLogsForDeployment", values)).text == reply.text
    assert (await bench.status("GetLogsForDeployment", "2"))[0] == 404


async def test_an_old_route_follows_them_all(bench: Bench) -> None:
    ids = [await bench.process(f"{n}\n") for n in range(3)]
    call = bench.shop.call("GetLogsForApp", {"appId": bench.shop.app}, params={"follow": "true"})
    reading = asyncio.create_task(call)
    async with asyncio.timeout(10):
        while not all(bench.logs.followed(process_id) for process_id in ids):
            await asyncio.sleep(0)
        for process_id in ids:
            await bench.end(process_id)
            await bench.keep(process_id)
        reply = await reading
    assert sorted(reply.text.splitlines()) == sorted(f"[{p}] {n}" for n, p in enumerate(ids))


async def test_a_reader_that_leaves_stops_them_all(bench: Bench) -> None:
    ids = [await bench.process(f"{n}\n") for n in range(3)]
    found = [logs.ReadableLog(process_id, growing=True) for process_id in ids]
    stream: Any = logs.together(bench.logs, found, 10, True)
    assert (await anext(stream)).endswith(b"\n")
    await stream.aclose()
    assert not any(bench.logs.followed(process_id) for process_id in ids)
