"""The tables of finished runs. `migrations/` creates them, and its docstring says how they may change.

`runs` keeps each run's JSON, with the columns of the lab's first version, which may still be running beside this one.
Lists read `run_rows`, `run_paths` and `run_tags` alone: in SQLite, a column that is added behind a long JSON costs as
much to read as the JSON. `sweeps` has a row for each sweep without its cells, `sweep_cells` one for each cell.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Float, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

METADATA = MetaData()
ID_LENGTH = 64
PRESET, OWN = "preset", "own"
"""Whose texts a run has: a preset's, or a visitor's own."""

RUNS = Table(
    "runs",
    METADATA,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("created_at", String(40), nullable=False),  # ISO 8601 in UTC: order of text is order of time
    Column("title", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("batch", Text, nullable=False),
    Column("texts", String(8), nullable=False),  # PRESET or OWN
    Column("best_path", Text),
    Column("verdict", String(16)),
    Column("speedup", Float),
    Column("machine", Text, nullable=False),
    Column("experiment_key", String(64), nullable=False),
    Column("build_key", String(64), nullable=False),
    Column("json", Text, nullable=False),
    Index("runs_by_time", "created_at"),
    Index("runs_by_key", "experiment_key", "build_key", "created_at"),
)

RUN_ROWS = Table(
    "run_rows",
    METADATA,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("created_at", String(40), nullable=False),
    Column("texts", String(8), nullable=False),
    Column("model", Text, nullable=False),
    Column("batch", Text, nullable=False),
    Column("device", Text),  # this and the next two: None if the JSON cannot be read
    Column("dtype", String(16)),
    Column("allocator", String(16)),
    Column("machine", Text, nullable=False),
    Column("best_path", Text),
    Column("verdict", String(16)),
    Column("speedup", Float),
    Column("experiment_key", String(64), nullable=False),
    Column("paths", Text, nullable=False),  # the measured ones in the run's order, one a line
    Column("title", Text, nullable=False),
    Column("renamed", Boolean, nullable=False),  # whether the title is a user's, and not the run's own
    Column("tags", Text, nullable=False),  # one a line, as in `run_tags`
    Column("note", Text, nullable=False),
    Column("searched", Text, nullable=False),  # title, model, batch, tags and note, casefolded
    Column("deleted_at", String(40)),
    Index("run_rows_by_time", "deleted_at", "created_at", "id"),
    Index("run_rows_by_speedup", "deleted_at", "speedup", "created_at", "id"),
    Index("run_rows_by_experiment", "experiment_key", "deleted_at", "created_at", "id"),
    # All columns of the filters, so that these are counted and offered from the index alone.
    Index(
        "run_rows_by_choice",
        *("deleted_at", "texts", "model", "batch", "device", "dtype", "allocator", "machine", "verdict"),
    ),
)

RUN_PATHS = Table(
    "run_paths",
    METADATA,
    Column("run_id", String(ID_LENGTH), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("is_baseline", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
    Column("speedup", Float),
    Column("low", Float),
    Column("high", Float),
    Column("verdict", String(16)),
    Column("median_ms", Float),
    Index("run_paths_by_path", "path", "status", "run_id"),
)

RUN_TAGS = Table(
    "run_tags",
    METADATA,
    Column("run_id", String(ID_LENGTH), primary_key=True),
    Column("tag", Text, primary_key=True),
    Index("run_tags_by_tag", "tag", "run_id"),
)

SWEEPS = Table(
    "sweeps",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("created_at", String(40), nullable=False),
    Column("title", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("machine", Text, nullable=False),  # of the first cell with a run; empty before it
    Column("size", Integer, nullable=False),  # cells of the plan
    Column("json", Text, nullable=False),  # the sweep without its cells
    Column("deleted_at", String(40)),
    Index("sweeps_by_time", "deleted_at", "created_at"),
)

SWEEP_CELLS = Table(
    "sweep_cells",
    METADATA,
    Column("sweep_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("json", Text, nullable=False),
)

INSERTS: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""The databases that may be used, by SQLAlchemy's name: both know `on conflict`."""


def insert_into(table: Table, connection: Connection) -> Any:
    """An insert that may say what happens on a conflict."""
    return INSERTS[connection.dialect.name](table)


def upsert_into(table: Table, connection: Connection) -> Any:
    """An insert that replaces the row with the same key."""
    statement = insert_into(table, connection)
    keys = [column.name for column in table.primary_key]
    changes = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes)
