"""Gauges tell what the store knows."""

from pathlib import Path

from prometheus_client import CollectorRegistry

from innkeeper.store.opening import open_store
from innkeeper.telemetry.gauges import Gauges
from innkeeper.testing.studio import Studio
from innkeeper.usecases import rooms
from innkeeper.usecases.rooms import NewRoom


async def test_gauges_follow_the_store(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "innkeeper.db")
    try:
        studio = await Studio(store).open()
        await studio.deploy(rooms_per_process=2, memory_mb=512)
        for _ in range(3):
            await studio.ask(rooms.create_room, NewRoom(studio.app_id, "Tokyo"))
        registry = CollectorRegistry()
        await Gauges(store, registry).refresh()
        assert registry.get_sample_value("innkeeper_rooms_active") == 3
        assert registry.get_sample_value("innkeeper_processes", {"status": "starting"}) == 2
        assert registry.get_sample_value("innkeeper_processes", {"status": "running"}) == 0
        assert registry.get_sample_value("innkeeper_memory_mb_promised") == 1024
        assert registry.get_sample_value("innkeeper_host_ports_owned") == 2
    finally:
        await store.close()
