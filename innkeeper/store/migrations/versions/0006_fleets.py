"""Fleets and their regions."""

from innkeeper.store.migrate import run_script

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Run the script of this revision."""
    run_script("0006_fleets.sql")
