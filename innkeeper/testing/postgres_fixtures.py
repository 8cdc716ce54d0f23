"""PostgreSQL for tests: one server for a test session, a new database for each test that asks for one."""

from collections.abc import Iterator

import pytest

from innkeeper.store.postgres_migrate import migrate_postgres
from innkeeper.testing.postgres_server import PostgresServer, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests of this process."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """A migrated database to copy."""
    name = postgres.new_database()
    migrate_postgres(postgres.url(name))
    return name


@pytest.fixture
def postgres_database(postgres: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A new, migrated database; its name."""
    name = postgres.new_database(postgres_template)
    yield name
    postgres.drop(name)
