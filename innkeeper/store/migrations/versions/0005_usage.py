"""Measured usage of processes, and invoices."""

from innkeeper.store.migrate import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the script of this revision."""
    run_script("0005_usage.sql")
