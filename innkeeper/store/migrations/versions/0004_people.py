"""Users, members and invites of organizations."""

from innkeeper.store.migrate import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the script of this revision."""
    run_script("0004_people.sql")
