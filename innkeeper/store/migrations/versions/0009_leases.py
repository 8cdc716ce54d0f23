"""Leases of what only one server may do."""

from innkeeper.store.migrate import run_script

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Run the script of this revision."""
    run_script("0009_leases.sql")
