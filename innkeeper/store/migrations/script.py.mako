"""${message}."""

from innkeeper.store.migrate import run_script

revision = "${up_revision}"
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    run_script("${up_revision}_CHANGE_ME.sql")
