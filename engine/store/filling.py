"""Gives every run its rows in the tables that lists read.

They are missing for runs from before these tables, and for runs that an older lab saves in the same database. A run
that this version cannot read stays as it is; its rows have what its own columns say.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from sqlalchemy import Connection, Engine, delete, exists, select

from engine.errors import Refusal
from engine.records import read_run
from engine.store.derived import Added, path_values, row_values, unreadable_row_values
from engine.store.tables import RUN_PATHS, RUN_ROWS, RUN_TAGS, RUNS, insert_into

AT_A_TIME = 50
"""Runs in a transaction, so that other writers need not wait for all of them."""

Writing = Callable[[Engine], AbstractContextManager[Connection]]


def fill_rows(engine: Engine, writing: Writing) -> None:
    """Add the rows that are missing, and delete the rows of runs that are gone."""
    without_row = ~exists().where(RUN_ROWS.c.id == RUNS.c.id)
    without_run = ~exists().where(RUNS.c.id == RUN_ROWS.c.id)
    with engine.connect() as connection:
        gone = connection.scalars(select(RUN_ROWS.c.id).where(without_run)).all()
        missing = connection.scalars(select(RUNS.c.id).where(without_row)).all()
    for some in in_parts(gone):
        with writing(engine) as connection:
            forget_rows(connection, some)
    for some in in_parts(missing):
        with writing(engine) as connection:
            # Asked once more: another process may have filled them meanwhile.
            chosen = select(RUNS).where(RUNS.c.id.in_(some), without_row)
            _add_rows(connection, connection.execute(chosen).mappings().all())


def in_parts(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """At most AT_A_TIME at once: a statement can name only so many."""
    for start in range(0, len(run_ids), AT_A_TIME):
        yield run_ids[start : start + AT_A_TIME]


def forget_rows(connection: Connection, run_ids: Sequence[str]) -> None:
    """Delete the rows of these runs from all tables but `runs`."""
    connection.execute(delete(RUN_ROWS).where(RUN_ROWS.c.id.in_(run_ids)))
    connection.execute(delete(RUN_PATHS).where(RUN_PATHS.c.run_id.in_(run_ids)))
    connection.execute(delete(RUN_TAGS).where(RUN_TAGS.c.run_id.in_(run_ids)))


def _add_rows(connection: Connection, rows: Iterable[Mapping[Any, Any]]) -> None:
    filled = [_filled(row) for row in rows]
    # Whoever was first has added the same.
    for table, values in (
        (RUN_ROWS, [row for row, _ in filled]),
        (RUN_PATHS, [path for _, paths in filled for path in paths]),
    ):
        if values:
            connection.execute(insert_into(table, connection).on_conflict_do_nothing(), values)


def _filled(row: Mapping[Any, Any]) -> tuple[dict[str, object], list[dict[str, object]]]:
    """The row in `run_rows`, and the rows in `run_paths`, of a row in `runs`."""
    with suppress(Refusal):
        run = read_run(row["json"])
        if run.id == row["id"]:
            return row_values(run, Added()), path_values(run)
    return unreadable_row_values(row), []
