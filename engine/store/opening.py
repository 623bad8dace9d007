"""Opens a database of finished runs and brings it up to date. Several processes may do so at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, ProgrammingError

from engine.store.filling import fill_rows
from engine.store.migrating import migrate
from engine.store.tables import INSERTS

FILE_NAME = "runs.sqlite3"
BUSY_MS = 30_000
"""How long a writer waits for other writers, in milliseconds."""
OPENING_ATTEMPTS, OPENING_PAUSE_S = 10, 0.1
"""Two processes that create the same database at once may fail; a later attempt finds it."""
CACHE_KB = 8_000
"""SQLite's cache of a connection, in KiB: the lists' table of 10,000 runs fits in, and its default is 2,000."""
CONNECT_S = 10
"""How long to wait for a PostgreSQL server, in seconds, unless the URL says so (`?connect_timeout=`)."""


def open_database(url: str | URL) -> Engine:
    """The database at this URL with all tables, and a row in `run_rows` for every run.

    Raises:
        ArgumentError: it is neither SQLite nor PostgreSQL.
        SQLAlchemyError, OSError, ImportError: it cannot be opened.
    """
    engine = _connecting(make_url(url))
    for attempt in range(1, OPENING_ATTEMPTS + 1):
        try:
            _prepare(engine)
            break
        except DBAPIError as error:
            if attempt == OPENING_ATTEMPTS or not _is_a_race(error):
                raise
            time.sleep(OPENING_PAUSE_S)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write. SQLite takes its lock at once, so that what is read first still holds."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def _connecting(url: URL) -> Engine:
    dialect = url.get_backend_name()
    if dialect not in INSERTS:
        raise ArgumentError(f"{dialect} is neither SQLite nor PostgreSQL")
    patience = {"connect_timeout": str(CONNECT_S)} if dialect == "postgresql" else {}
    # pool_pre_ping: reconnects after a restart of the database. hide_parameters: errors would write visitors' texts
    # into the log.
    url = url.set(query={**patience, **url.query})
    try:
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
    except ImportError as error:
        raise ImportError(f"{error}; requirements-postgres.txt has what PostgreSQL needs") from error
    if dialect == "sqlite":
        _make_private_file(Path(url.database or FILE_NAME))
        event.listen(engine, "connect", _configure)
    return engine


def _prepare(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            # Write-ahead log: readers never wait for a writer. Kept in the file once it is set.
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    with writing(engine) as connection:
        migrate(connection)
    fill_rows(engine, writing)


def _is_a_race(error: DBAPIError) -> bool:
    """SQLite does not wait for a lock when it switches its log; PostgreSQL's `if not exists` is not atomic."""
    return isinstance(error, IntegrityError | ProgrammingError) or "locked" in str(error.orig)


def _make_private_file(file: Path) -> None:
    """Runs contain visitors' texts; SQLite gives its other files the permissions of this one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.touch(mode=0o600)


def _configure(connection: Any, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
