"""The database of finished runs: SQLite in the data folder, or PostgreSQL by URL.

A row has the run's JSON and the columns that lists and look-ups need. Rows that this version cannot read are never
changed. Threads, processes and servers may write at the same time.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError
from pydantic_core import from_json
from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Executable,
    Float,
    Index,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from engine.alike import experiment_key, key_of
from engine.analysis.recommend import fastest_path
from engine.catalog.batches import PRESETS
from engine.errors import Refusal
from engine.records import SCHEMA_VERSION, Batch, Experiment, Record, Run, VerdictWord, read_run
from engine.settings import Settings, load_settings

LOG = logging.getLogger(__name__)
FILE_NAME = "runs.sqlite3"
PRESET, OWN = "preset", "own"
BUSY_MS = 30_000
"""How long a writer waits for other writers, in milliseconds."""
OPENING_ATTEMPTS, OPENING_PAUSE_S = 10, 0.1
"""Two processes that create the same database at once may fail; a later attempt finds it."""
CANDIDATES = 20
"""Rows of the same experiment that are looked at, newest first, for one that a quiet machine measured."""
_ANCHOR = "_fastpath_store"

_RUNS = Table(
    "runs",
    MetaData(),
    Column("id", String(64), primary_key=True),
    Column(
        "created_at", String(40), nullable=False
    ),  # ISO 8601 in UTC, so that order of text is order of time
    Column("title", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("batch", Text, nullable=False),
    Column("texts", String(8), nullable=False),  # whose texts: PRESET or OWN
    Column("best_path", Text),
    Column("verdict", String(16)),
    Column("speedup", Float),
    Column("machine", Text, nullable=False),
    Column("experiment_key", String(64), nullable=False),
    Column("build_key", String(64), nullable=False),
    Column("json", Text, nullable=False),
)
_INDEXES = (
    Index("runs_by_time", _RUNS.c.created_at),
    Index("runs_by_key", _RUNS.c.experiment_key, _RUNS.c.build_key, _RUNS.c.created_at),
)
_INSERTS: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class BuildFacts(Protocol):
    """Facts that decide how fast a forward is; a run's environment and a host both have them."""

    @property
    def torch(self) -> str: ...  # noqa: D102
    @property
    def torchtext(self) -> str: ...  # noqa: D102
    @property
    def cpu(self) -> str: ...  # noqa: D102
    @property
    def cores(self) -> int: ...  # noqa: D102
    @property
    def allocator(self) -> dict[str, str]: ...  # noqa: D102
    @property
    def machine(self) -> str: ...  # noqa: D102


class RunRow(Record):
    """A finished run in a list; fields that are damaged in the row are None or empty."""

    id: str
    created_at: datetime | None = None
    title: str = ""
    best_path: str | None = None
    """The fastest path but the baseline; None where no other gave a result."""
    verdict: VerdictWord | None = None
    speedup: float | None = None
    machine: str = ""


def build_key(facts: BuildFacts) -> str:
    """Hash of the machine and the build: of a run's environment, or of the host that asks."""
    return key_of(
        {
            "torch": facts.torch,
            "torchtext": facts.torchtext,
            "cpu": facts.cpu,
            "cores": facts.cores,
            "allocator": facts.allocator,
            "machine": facts.machine,
        }
    )


def is_preset(batch: Batch) -> bool:
    """Whether the texts are a preset's, and so nothing private."""
    return any(preset.texts == batch.texts for preset in PRESETS.values())


def upsert(run: Run, dialect: str) -> Executable:
    """The statement that inserts a run or replaces the one with its id; `dialect` is SQLAlchemy's name."""
    insert = _INSERTS[dialect](_RUNS).values(_values(run))
    changes = {column.name: insert.excluded[column.name] for column in _RUNS.c if not column.primary_key}
    statement: Executable = insert.on_conflict_do_update(index_elements=["id"], set_=changes)
    return statement


class Store:
    """Thread-safe; opened on first use, so that an unreachable database does not stop the server's start."""

    def __init__(self, url: str | URL, runs_kept: int = 10_000) -> None:
        self._url, self._runs_kept = url, runs_kept
        self._opening = threading.Lock()
        self._engine: Engine | None = None

    def save(self, run: Run) -> None:
        """Insert a run, or replace the one with its id; delete the oldest runs beyond `runs_kept`.

        Raises:
            Refusal: the database cannot be written.
        """
        with self._connected("kept") as connection:
            connection.execute(upsert(run, connection.dialect.name))
            surplus = select(_RUNS.c.id).order_by(*_NEWEST_FIRST).offset(self._runs_kept)
            connection.execute(delete(_RUNS).where(_RUNS.c.id.in_(surplus)))

    def get(self, run_id: str) -> Run | None:
        """The run of this id; None if there is none.

        Raises:
            Refusal: the row is damaged or of a newer schema (it stays), or the database cannot be read.
        """
        text = self.json_of(run_id)
        return None if text is None else _readable(text)

    def json_of(self, run_id: str) -> str | None:
        """The stored JSON of a run, readable or not; None if there is none.

        Raises:
            Refusal: the database cannot be read.
        """
        with self._connected("read") as connection:
            return connection.scalar(select(_RUNS.c.json).where(_RUNS.c.id == run_id))

    def latest(self, limit: int, offset: int = 0, *, presets_only: bool = False) -> tuple[RunRow, ...]:
        """Rows of the newest runs, newest first.

        Args:
            presets_only: leave out runs of a visitor's own texts.

        Raises:
            Refusal: the database cannot be read.
        """
        columns = [_RUNS.c[name] for name in RunRow.model_fields]
        query = select(*columns).where(*_listed(presets_only)).order_by(*_NEWEST_FIRST)
        with self._connected("read") as connection:
            found = connection.execute(query.limit(limit).offset(offset)).mappings().all()
        return tuple(map(_row, found))

    def count(self, *, presets_only: bool = False) -> int:
        """The number of runs that `latest` lists.

        Raises:
            Refusal: the database cannot be read.
        """
        query = select(func.count()).select_from(_RUNS).where(*_listed(presets_only))
        with self._connected("read") as connection:
            return connection.scalar(query) or 0

    def find_same(self, experiment: Experiment, environment_key: str) -> Run | None:
        """A run of the same experiment on the same machine and build; None where there is none.

        The newest that a quiet machine measured, and where there is none, the newest.

        Raises:
            Refusal: the database cannot be read.
        """
        query = (
            select(_RUNS.c.json)
            .where(_RUNS.c.experiment_key == experiment_key(experiment), _RUNS.c.build_key == environment_key)
            .order_by(*_NEWEST_FIRST)
            .limit(CANDIDATES)
        )
        with self._connected("read") as connection:
            texts = connection.scalars(query).all()
        newest: Run | None = None
        for text in texts:
            with suppress(Refusal):
                run = _readable(text)
                if run.environment.quiet:
                    return run
                newest = newest or run
        return newest

    def delete(self, run_id: str) -> None:
        """Delete a run; does nothing if there is none.

        Raises:
            Refusal: the database cannot be written.
        """
        with self._connected("deleted") as connection:
            connection.execute(delete(_RUNS).where(_RUNS.c.id == run_id))

    @contextmanager
    def _connected(self, done: str) -> Iterator[Connection]:
        """A transaction; a failure becomes one sentence, and its cause goes to the log."""
        try:
            with self._opened().begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError, ImportError) as error:
            LOG.error("the store of finished runs: %s: %s", type(error).__name__, error)  # noqa: TRY400  (no defect)
            raise Refusal(
                f"Finished runs cannot be {done} now, because their database does not work "
                f"({type(error).__name__}; the log says more); what is kept there is left as it is."
            ) from None

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is None:
                self._engine = _open(self._url)
            return self._engine


_NEWEST_FIRST = (_RUNS.c.created_at.desc(), _RUNS.c.id)


def _listed(presets_only: bool) -> tuple[ColumnElement[bool], ...]:
    return (_RUNS.c.texts == PRESET,) if presets_only else ()


def _open(url: str | URL) -> Engine:
    # pool_pre_ping: reconnects after a restart of the database. hide_parameters: errors would write visitors' texts
    # into the log.
    engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
    if engine.dialect.name not in _INSERTS:
        raise ArgumentError(f"{engine.dialect.name} is neither SQLite nor PostgreSQL")
    if engine.dialect.name == "sqlite":
        _make_private_file(Path(engine.url.database or FILE_NAME))
        event.listen(engine, "connect", _set_busy_timeout)
    for attempt in range(1, OPENING_ATTEMPTS + 1):
        try:
            _prepare(engine)
            break
        except DBAPIError as error:
            if attempt == OPENING_ATTEMPTS or not _is_a_race(error):
                raise
            time.sleep(OPENING_PAUSE_S)
    return engine


def _make_private_file(file: Path) -> None:
    """Runs contain visitors' texts; SQLite gives its other files the permissions of this one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.touch(mode=0o600)


def _is_a_race(error: DBAPIError) -> bool:
    """SQLite does not wait for a lock when it switches its log; PostgreSQL's `if not exists` is not atomic."""
    return isinstance(error, IntegrityError | ProgrammingError) or "locked" in str(error.orig)


def _set_busy_timeout(connection: Any, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


def _prepare(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Write-ahead log: readers never wait for a writer. Kept in the file once it is set.
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.execute(CreateTable(_RUNS, if_not_exists=True))
        for index in _INDEXES:
            connection.execute(CreateIndex(index, if_not_exists=True))


def _values(run: Run) -> dict[str, object]:
    best = fastest_path(run)
    return {
        "id": run.id,
        "created_at": run.created_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "title": run.title,
        "model": run.experiment.model,
        "batch": run.experiment.batch.name,
        "texts": PRESET if is_preset(run.experiment.batch) else OWN,
        "best_path": best.name if best else None,
        "verdict": best.verdict if best else None,
        "speedup": best.speedup if best else None,
        "machine": run.environment.machine,
        "experiment_key": experiment_key(run.experiment),
        "build_key": build_key(run.environment),
        "json": run.model_dump_json(),
    }


def _row(values: Mapping[Any, Any]) -> RunRow:
    try:
        return RunRow.model_validate(dict(values))
    except ValidationError:
        return RunRow(id=str(values["id"]))


def _readable(text: str) -> Run:
    """The run of a row.

    Raises:
        Refusal: it is of a newer schema, or damaged.
    """
    try:
        return read_run(text)
    except Refusal:
        if _schema_version(text) > SCHEMA_VERSION:
            raise Refusal(
                "This run was written by a newer version of the lab and cannot be shown by this one; it is kept: "
                "download its JSON, or open it with that version."
            ) from None
        raise Refusal(
            "The stored run is damaged and cannot be shown; it is not changed: download its JSON to look into it, or "
            "measure again."
        ) from None


def _schema_version(text: str) -> int:
    with suppress(ValueError, TypeError, KeyError):
        return int(from_json(text)["schema_version"])
    return 0


def store_url(settings: Settings) -> URL:
    """The URL of the database in the settings.

    Raises:
        Refusal: FASTPATH_DATABASE_URL is no URL.
    """
    if not settings.database_url:
        return URL.create("sqlite", database=str(settings.data_folder / FILE_NAME))
    try:
        return make_url(settings.database_url)
    except ArgumentError:
        # The value may hold a password, so it is not repeated.
        raise Refusal(
            "The setting FASTPATH_DATABASE_URL is not the URL of a database; "
            "write it as in postgresql+psycopg://name:password@host/database."
        ) from None


def the_store() -> Store:
    """The one store of this process; an attribute of `sys`, as the desk is (engine/desk/desk.py).

    Raises:
        Refusal: a setting is not valid.
    """
    if _ANCHOR not in sys.__dict__:
        settings = load_settings()
        sys.__dict__.setdefault(_ANCHOR, Store(store_url(settings), settings.runs_kept))
    store: Store = sys.__dict__[_ANCHOR]
    return store
