"""A backup of an installation in PostgreSQL, and back into a new database."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from innkeeper import wiring
from innkeeper.core.errors import StateConflict
from innkeeper.store.migrate import revisions
from innkeeper.store.opening import open_store
from innkeeper.testing.postgres_server import PostgresServer
from innkeeper.testing.studio import Studio
from innkeeper.usecases import rooms
from innkeeper.wiring.backup import Wanted
from innkeeper.wiring.last_run import LastRun, last_run
from tests.wiring.conftest import TOKEN, quiet


async def told(url: str) -> list[dict[str, Any]]:
    """Every room of a database, and what happened to them."""
    store = await open_store(url)
    try:
        found = await store.read(lambda tx: tx.all("invariants.rooms"))
        events = [
            await store.read(lambda tx, r=room: tx.all("events.of_one_room", room_id=r["room_id"]))
            for room in found
        ]
    finally:
        await store.close()
    return [{**row} for row in found] + [
        {name: value for name, value in event.items() if name != "order"}
        for story in events
        for event in story
    ]


@pytest.fixture
async def served(tmp_path: Path, postgres: PostgresServer, postgres_database: str) -> Path:
    """A data directory whose store is in PostgreSQL: a room, a build, the admin token."""
    url, data_dir = postgres.url(postgres_database), tmp_path / "data"
    store = await open_store(url)
    studio = await Studio(store).open()
    await studio.deploy()
    await studio.ask(rooms.create_room, rooms.NewRoom(studio.app_id, "Tokyo"))
    rows = await store.read(lambda tx: tx.all("builds.kept_images"))
    await store.close()
    image = data_dir / "processes" / "images" / str(rows[0]["build_key"])
    (image / "rootfs").mkdir(parents=True)
    (image / "image.json").write_text('{"entrypoint":["/x"],"cmd":[],"env":{},"workdir":"/"}')
    (data_dir / "admin-token").write_text(f"{TOKEN}\n")
    LastRun("process", url, None).keep(data_dir)
    return data_dir


async def test_it_comes_back_into_a_new_database(
    served: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    backup, new = tmp_path / "b.tar", tmp_path / "new"
    await wiring.backup(served, backup, Wanted(), quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "data"]
    before = last_run(served)
    assert before is not None
    empty = postgres.new_database()
    new.mkdir()
    try:
        with wiring.open_backup(backup, quiet) as reader:
            assert (reader.about.store, reader.about.schema_revision) == (
                "postgresql",
                revisions()[-1],
            )
            with pytest.raises(StateConflict, match="name a new, empty one with --database"):
                wiring.restore(reader, new, False, quiet)
            with pytest.raises(StateConflict, match="is not empty: name a new one"):
                wiring.restore(reader, new, False, quiet, before.database_url)
            assert list(new.iterdir()) == [], "nothing was touched"
            wiring.restore(reader, new, False, quiet, postgres.url(empty))
        assert await told(postgres.url(empty)) == await told(before.database_url) != []
        assert last_run(new) == LastRun("process", postgres.url(empty), None)
        assert (new / "admin-token").read_text().strip() == TOKEN
        assert len(list((new / "processes" / "images").iterdir())) == 1
        # The same installation, in place: what was there goes aside, its database stays as it is.
        again = postgres.new_database()
        with wiring.open_backup(backup, quiet) as reader:
            wiring.restore(reader, served, True, quiet, postgres.url(again))
        assert len(list(served.glob("before-restore-*/admin-token"))) == 1
        assert await told(before.database_url) == await told(postgres.url(again))
        postgres.drop(again)
    finally:
        postgres.drop(empty)


async def test_a_password_is_nowhere_to_be_seen(served: Path, tmp_path: Path) -> None:
    before = last_run(served)
    assert before is not None
    secret = before.database_url.replace("innkeeper@", "innkeeper:hidden-word@")
    LastRun("process", secret, None).keep(served)
    said: list[str] = []
    await wiring.backup(served, tmp_path / "b.tar", Wanted(), said.append)
    assert b"hidden-word" not in (tmp_path / "b.tar").read_bytes()
    assert "hidden-word" not in "".join(said)


async def test_without_its_programs_it_says_what_to_install(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innkeeper.store.postgres_copies._PLACES", ())
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    with pytest.raises(StateConflict, match="pg_dump is not installed here"):
        await wiring.backup(served, tmp_path / "b.tar", Wanted(), quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
