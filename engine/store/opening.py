"""Opens a database of finished runs and brings it up to date. Several processes may do so at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from engine.store.filling import fill_rows
from engine.store.tables import INSERTS, METADATA

FILE_NAME = "runs.sqlite3"
BUSY_MS = 30_000
"""How long a writer waits for other writers, in milliseconds."""
OPENING_ATTEMPTS, OPENING_PAUSE_S = 10, 0.1
"""SQLite does not wait for a lock when it switches its log; a later attempt finds it switched."""
_MIGRATION_LOCK = 0x66617374
"""Number of PostgreSQL's advisory lock for one migration at a time: any number that nothing else uses."""


def open_database(url: str | URL) -> Engine:
    """The database at this URL with all tables, and a row in `run_rows` for every run.

    Raises:
        ArgumentError: it is neither SQLite nor PostgreSQL.
        SQLAlchemyError, OSError, ImportError: it cannot be opened.
    """
    # pool_pre_ping: reconnects after a restart of the database. hide_parameters: errors would write visitors' texts
    # into the log.
    engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
    if engine.dialect.name not in INSERTS:
        raise ArgumentError(f"{engine.dialect.name} is neither SQLite nor PostgreSQL")
    if engine.dialect.name == "sqlite":
        _make_private_file(Path(engine.url.database or FILE_NAME))
        event.listen(engine, "connect", _set_busy_timeout)
        _write_ahead(engine)
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK})
        METADATA.create_all(connection)
    fill_rows(engine, writing)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write. SQLite takes its lock at once, so that what is read first still holds."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def _make_private_file(file: Path) -> None:
    """Runs contain visitors' texts; SQLite gives its other files the permissions of this one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.touch(mode=0o600)


def _set_busy_timeout(connection: Any, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


def _write_ahead(engine: Engine) -> None:
    """Write-ahead log: readers never wait for a writer. Kept in the file once it is set."""
    for attempt in range(1, OPENING_ATTEMPTS + 1):
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        except DBAPIError as error:
            if attempt == OPENING_ATTEMPTS or "locked" not in str(error.orig):
                raise
            time.sleep(OPENING_PAUSE_S)
        else:
            return
