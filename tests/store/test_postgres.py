"""PostgreSQL: the shipped suite, and what is promised of it beyond that."""

import pytest

from innkeeper.testing.store_suite import StoreRig, StoreSuite


class TestPostgresStore(StoreSuite):
    """The shipped suite."""

    @pytest.fixture
    async def rig(self, postgres_rig: StoreRig) -> StoreRig:
        return postgres_rig
