"""Static allocation, warm pools, and rooms that wait."""

from innkeeper.store.migrate import run_script

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Run the script of this revision."""
    run_script("0010_allocation.sql")
