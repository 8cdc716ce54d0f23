"""Runs the migrations on the connection that ``innkeeper/store/migrate.py`` hands over.

All of them in one transaction: a database is at one revision or the other, never between two.
"""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=None,
    transactional_ddl=True,  # true of SQLite too, once the driver's own BEGINs are out of the way
)
with context.begin_transaction():
    context.run_migrations()
    context.config.attributes["check"]()
