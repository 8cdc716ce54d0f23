"""A studio over a real store in a folder of the test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.store.opening import open_store
from innkeeper.testing.studio import Studio


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    store = await open_store(tmp_path / "innkeeper.sqlite")
    yield await Studio(store).open()
    await store.close()
