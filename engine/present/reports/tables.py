"""Operators and rounds of runs as tables for other programs: CSV, or Parquet whose columns carry their unit.

Column names have their unit. `profiler_...` columns are profiler time, which is longer than measured time; all other
times were measured without a profiler.
"""

import csv
from collections.abc import Iterator, Sequence
from io import BytesIO, StringIO
from typing import Literal, get_args

from engine.records import Record, Run
from engine.version import __version__

TableName = Literal["operators", "rounds"]
TABLES: tuple[TableName, ...] = get_args(TableName)
NOISE_FLOOR = "baseline-again"
"""The baseline's second run in each round, named as in a run's `order`."""

Value = str | int | float | None


class Column(Record):
    """A column: its name, its unit, and what it holds."""

    name: str
    unit: str
    note: str


_RUN = Column(name="run", unit="", note="id of the run")
_PATH = Column(name="path", unit="", note="execution path")
_PROFILED = "profiler time of one forward, longer than measured time"
COLUMNS: dict[TableName, tuple[Column, ...]] = {
    "operators": (
        _RUN,
        _PATH,
        Column(name="operator", unit="", note="name in torch's profiler"),
        Column(name="calls_per_forward", unit="calls", note="calls in one forward"),
        Column(name="profiler_self_ms", unit="ms", note=f"{_PROFILED}; without the operators that it calls"),
        Column(name="profiler_total_ms", unit="ms", note=f"{_PROFILED}; with the operators that it calls"),
        Column(name="profiler_self_share", unit="1", note="self time / sum of all self times of the path"),
    ),
    "rounds": (
        _RUN,
        Column(name="round", unit="", note="number of the round, from 1"),
        _PATH.model_copy(
            update={"note": f"execution path; {NOISE_FLOOR} is the baseline's second run in the round"}
        ),
        Column(name="place_in_round", unit="", note="when in the round's random order it ran, from 1"),
        Column(name="measured_ms", unit="ms", note="measured time of one forward, without a profiler"),
        Column(name="forwards_in_sample", unit="forwards", note="the time is their mean"),
        Column(name="speedup_in_round", unit="1", note="the baseline's time / this time, in the same round"),
    ),
}


def table_rows(runs: Sequence[Run], table: TableName) -> Iterator[tuple[Value, ...]]:
    """The rows of a table for all runs, in the columns of `COLUMNS`."""
    for run in runs:
        yield from _operators(run) if table == "operators" else _rounds(run)


def table_csv(runs: Sequence[Run], table: TableName) -> str:
    """A table as CSV with a header (RFC 4180)."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(column.name for column in COLUMNS[table])
    writer.writerows(table_rows(runs, table))
    return out.getvalue()


def table_parquet(runs: Sequence[Run], table: TableName) -> bytes:
    """A table as Parquet; each column's metadata have its unit and a note."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = COLUMNS[table]
    rows = list(table_rows(runs, table))
    fields = [
        pa.field(column.name, _arrow_type(column), metadata={"unit": column.unit, "note": column.note})
        for column in columns
    ]
    about = {"source": f"Fastpath Lab {__version__}", "table": table}
    data = [[row[i] for row in rows] for i in range(len(columns))]
    out = BytesIO()
    pq.write_table(pa.table(data, schema=pa.schema(fields, metadata=about)), out)
    return out.getvalue()


def _arrow_type(column: Column) -> str:
    if column.unit in ("ms", "1", "calls"):
        return "float64"
    return "string" if column.name in ("run", "path", "operator") else "int64"


def _operators(run: Run) -> Iterator[tuple[Value, ...]]:
    for path in run.paths:
        for op in path.profile.ops if path.profile else ():
            yield run.id, path.name, op.name, op.calls, op.self_ms, op.total_ms, op.share


def _rounds(run: Run) -> Iterator[tuple[Value, ...]]:
    calls = run.baseline.calls_per_sample
    timed = [(path.name, path.samples_ms, path.calls_per_sample) for path in run.paths if path.samples_ms]
    if run.noise_floor.samples_ms:
        timed.append((NOISE_FLOOR, run.noise_floor.samples_ms, calls))
    for i in range(run.rounds):
        order = run.order[i] if run.order else ()
        for name, samples_ms, forwards in timed:
            place = order.index(name) + 1 if name in order else None
            speedup = run.baseline.samples_ms[i] / samples_ms[i]
            yield run.id, i + 1, name, place, samples_ms[i], forwards, speedup
