"""Alembic runs this file: the steps, on the connection and within the transaction that `migrating.py` hands in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
