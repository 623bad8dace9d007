"""The database of finished runs: SQLite in the data folder, or PostgreSQL by URL.

A run never changes; its title, tags and note do, and it can be deleted and restored for a while. Rows that this version
cannot read are never changed. Threads, processes and servers may write at the same time.
"""

import logging
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json
from sqlalchemy import URL, Connection, Engine, Select, delete, insert, make_url, select, update
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from engine.alike import experiment_key
from engine.errors import Refusal
from engine.records import SCHEMA_VERSION, Experiment, Run, read_run
from engine.settings import Settings, load_settings
from engine.store.derived import (
    Added,
    added_values,
    of_lines,
    path_values,
    row_values,
    run_values,
    storable,
    time_text,
    valid_note,
    valid_tags,
    valid_title,
)
from engine.store.filling import forget_rows, in_parts
from engine.store.opening import FILE_NAME, open_database, writing
from engine.store.queries import (
    NEWEST_FIRST,
    Choices,
    PathSpeedup,
    RunFilter,
    RunRow,
    Sort,
    choices_of,
    choices_query,
    count_query,
    repeats_query,
    row_of,
    row_query,
    rows_query,
)
from engine.store.tables import RUN_PATHS, RUN_ROWS, RUN_TAGS, RUNS, upsert_into

LOG = logging.getLogger(__name__)
RESTORABLE_DAYS = 7
"""How long a deleted run can be restored. It is deleted for good when a run is saved after that."""
CANDIDATES = 20
"""Rows of the same experiment that are looked at, newest first, for one that a quiet machine measured."""
_ANCHOR = "_fastpath_store"
_DRIVER, _WITHOUT_DRIVER = "postgresql+psycopg", {"postgres", "postgresql"}
"""What PostgreSQL is used through, and how its URLs begin where nobody thought of SQLAlchemy."""
_IS_THERE = RUN_ROWS.c.deleted_at.is_(None)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """Thread-safe; opened on first use, so that an unreachable database does not stop the server's start.

    Every method raises a Refusal if the database cannot be used.
    """

    def __init__(
        self, url: str | URL, runs_kept: int = 10_000, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._url, self._runs_kept, self._now = url, runs_kept, now
        self._opening = threading.Lock()
        self._engine: Engine | None = None

    def save(self, run: Run) -> None:
        """Insert a run, or replace the one with its id, which keeps the title, tags and note that a user gave.

        Runs that were deleted long enough ago, and the oldest runs beyond `runs_kept`, are deleted for good.

        Raises:
            Refusal: its id is too long, or the database cannot be written.
        """
        with self._connected("kept", writing) as connection:
            connection.execute(upsert_into(RUNS, connection), run_values(run))
            added = _added_to(_row_for_change(connection, run.id))
            connection.execute(upsert_into(RUN_ROWS, connection), row_values(run, added))
            connection.execute(delete(RUN_PATHS).where(RUN_PATHS.c.run_id == run.id))
            connection.execute(insert(RUN_PATHS), path_values(run))
            _forget(connection, self._superfluous(connection))

    def get(self, run_id: str) -> Run | None:
        """The run of this id; None if there is none, or it is deleted.

        Raises:
            Refusal: the row is damaged or of a newer schema (it stays), or the database cannot be read.
        """
        text = self.json_of(run_id)
        return None if text is None else _readable(text)

    def json_of(self, run_id: str) -> str | None:
        """The stored JSON of a run, readable or not; None if there is none, or it is deleted."""
        query = _present(select(RUNS.c.json)).where(RUNS.c.id == storable(run_id))
        with self._connected("read") as connection:
            text: str | None = connection.scalar(query)
        return text

    def row(self, run_id: str) -> RunRow | None:
        """A run as lists show it, with what users have added to it; None if there is none, or it is deleted."""
        with self._connected("read") as connection:
            found = connection.execute(row_query(run_id)).mappings().first()
        return None if found is None else row_of(found)

    def find(
        self, wanted: RunFilter, sort: Sort = "newest", limit: int = 10, offset: int = 0
    ) -> tuple[RunRow, ...]:
        """Rows of the runs that are wanted; runs without a speedup come last if it decides the order.

        Raises:
            Refusal: the search is too long, or the database cannot be read.
        """
        query = rows_query(wanted, sort, limit, offset)
        with self._connected("read") as connection:
            return tuple(map(row_of, connection.execute(query).mappings().all()))

    def count(self, wanted: RunFilter) -> int:
        """The number of runs that `find` finds without a limit.

        Raises:
            Refusal: the search is too long, or the database cannot be read.
        """
        query = count_query(wanted)
        with self._connected("read") as connection:
            return connection.scalar(query) or 0

    def choices(self, presets_only: bool = False) -> Choices:
        """The values that occur in the store: what a filter can offer."""
        query = choices_query(presets_only)
        with self._connected("read") as connection:
            return choices_of(connection.execute(query).all())

    def repeats(self, experiment_key: str, limit: int = 50) -> tuple[PathSpeedup, ...]:
        """The speedups of every path in the newest `limit` runs of an experiment, oldest first, then by path.

        Args:
            experiment_key: a row's.
        """
        query = repeats_query(experiment_key, limit)
        with self._connected("read") as connection:
            found = connection.execute(query).mappings().all()
        return tuple(PathSpeedup.model_validate(dict(values)) for values in found)

    def find_same(self, experiment: Experiment, environment_key: str) -> Run | None:
        """A run of the same experiment on the same machine and build; None where there is none.

        The newest that a quiet machine measured, and where there is none, the newest.
        """
        query = (
            _present(select(RUNS.c.json))
            .where(RUNS.c.experiment_key == experiment_key(experiment), RUNS.c.build_key == environment_key)
            .order_by(RUNS.c.created_at.desc(), RUNS.c.id.desc())
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

    def annotate(
        self,
        run_id: str,
        *,
        title: str | None = None,
        tags: tuple[str, ...] | None = None,
        note: str | None = None,
    ) -> None:
        """Give a run another title, tags or note; None leaves it as it is.

        Args:
            title: an empty one gives the run its own title again.

        Raises:
            Refusal: a text is too long, there are too many tags or no such run, or the database cannot be written.
        """
        changes: dict[str, object] = {}
        if title is not None:
            changes["title"] = valid_title(title) or None
        if tags is not None:
            changes["tags"] = valid_tags(tags)
        if note is not None:
            changes["note"] = valid_note(note)
        with self._connected("changed", writing) as connection:
            row = _row_for_change(connection, run_id)
            if row is None or row["deleted_at"] is not None:
                raise Refusal("This server has no such run: it was deleted, or it is on another server.")
            _annotate(connection, row, _added_to(row).model_copy(update=changes))

    def delete(self, run_ids: Collection[str]) -> None:
        """Delete runs; for RESTORABLE_DAYS they can be restored. Does nothing for runs that are not there."""
        self._set_deleted(run_ids, time_text(self._now()), _IS_THERE)

    def restore(self, run_ids: Collection[str]) -> None:
        """Undo the deletion of runs; does nothing for runs that are not deleted, or are deleted for good."""
        self._set_deleted(run_ids, None, RUN_ROWS.c.deleted_at.is_not(None))

    def close(self) -> None:
        """Close the connections; a later use opens new ones."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def transaction(
        self, done: str, how: Callable[[Engine], AbstractContextManager[Connection]] = Engine.begin
    ) -> AbstractContextManager[Connection]:
        """A transaction for other tables of this database.

        Args:
            done: what is being done to what is kept, for the sentence of a refusal: "kept", "read", "deleted".
            how: `writing` if it changes anything.
        """
        return self._connected(done, how)

    def _set_deleted(self, run_ids: Collection[str], moment: str | None, which: Any) -> None:
        with self._connected("restored" if moment is None else "deleted", writing) as connection:
            for some in in_parts([storable(run_id) for run_id in run_ids]):
                chosen = update(RUN_ROWS).where(RUN_ROWS.c.id.in_(some), which)
                connection.execute(chosen.values(deleted_at=moment))

    def _superfluous(self, connection: Connection) -> list[str]:
        """The runs to delete for good: too many, or deleted long enough ago."""
        oldest = time_text(self._now() - timedelta(days=RESTORABLE_DAYS))
        surplus = select(RUN_ROWS.c.id).where(_IS_THERE).order_by(*NEWEST_FIRST).offset(self._runs_kept)
        expired = select(RUN_ROWS.c.id).where(RUN_ROWS.c.deleted_at < oldest)
        return [*connection.scalars(surplus).all(), *connection.scalars(expired).all()]

    @contextmanager
    def _connected(
        self, done: str, how: Callable[[Engine], AbstractContextManager[Connection]] = Engine.begin
    ) -> Iterator[Connection]:
        """A transaction; a failure becomes one sentence, and its cause goes to the log."""
        try:
            with how(self._opened()) as connection:
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
                self._engine = open_database(self._url)
            return self._engine


def _present(query: Select[Any]) -> Select[Any]:
    """Without the runs that are deleted; a run without a row in `run_rows` is there."""
    return query.outerjoin_from(RUNS, RUN_ROWS, RUNS.c.id == RUN_ROWS.c.id).where(_IS_THERE)


def _row_for_change(connection: Connection, run_id: str) -> Mapping[Any, Any] | None:
    query = select(RUN_ROWS).where(RUN_ROWS.c.id == storable(run_id)).with_for_update()
    return connection.execute(query).mappings().first()


def _added_to(row: Mapping[Any, Any] | None) -> Added:
    if row is None:
        return Added()
    return Added(title=row["title"] if row["renamed"] else None, tags=of_lines(row["tags"]), note=row["note"])


def _annotate(connection: Connection, row: Mapping[Any, Any], added: Added) -> None:
    run_id = row["id"]
    own_title = connection.scalar(select(RUNS.c.title).where(RUNS.c.id == run_id)) or ""
    values = added_values(added, own_title, row)
    connection.execute(update(RUN_ROWS).where(RUN_ROWS.c.id == run_id).values(values))
    connection.execute(delete(RUN_TAGS).where(RUN_TAGS.c.run_id == run_id))
    if added.tags:
        connection.execute(insert(RUN_TAGS), [{"run_id": run_id, "tag": tag} for tag in added.tags])


def _forget(connection: Connection, run_ids: list[str]) -> None:
    """Delete runs for good."""
    for some in in_parts(run_ids):
        connection.execute(delete(RUNS).where(RUNS.c.id.in_(some)))
        forget_rows(connection, some)


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
        url = make_url(settings.database_url)
    except ArgumentError:
        # The value may hold a password, so it is not repeated.
        raise Refusal(
            "The setting FASTPATH_DATABASE_URL is not the URL of a database; "
            "write it as in postgresql+psycopg://name:password@host/database."
        ) from None
    return url.set(drivername=_DRIVER) if url.drivername in _WITHOUT_DRIVER else url


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
