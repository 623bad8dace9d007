"""Runs the steps in `migrations/` that a database still lacks."""

import threading

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

_STEPS = "engine.store:migrations"
_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps the migration in progress in globals, and so do its steps."""
_LOCK_NUMBER = 0x66617374
"""PostgreSQL's advisory lock for one migration at a time: any number that nothing else uses."""


def migrate(connection: Connection) -> None:
    """Bring a database up to date, within the transaction of the connection, which commits all steps or none.

    In SQLite the transaction has to hold the lock for writing already. A database that a newer version of the lab has
    migrated is used as it is, because steps only add.
    """
    config = Config()
    config.set_main_option("script_location", _STEPS)
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
        if not _is_newer(connection, ScriptDirectory.from_config(config)):
            command.upgrade(config, "head")


def _is_newer(connection: Connection, steps: ScriptDirectory) -> bool:
    """Whether the database has a step that this version does not know."""
    current = MigrationContext.configure(connection).get_current_revision()
    try:
        return current is not None and steps.get_revision(current) is None
    except CommandError:
        return True
