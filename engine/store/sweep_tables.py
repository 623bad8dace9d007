"""The tables of sweeps: one row for a sweep without its cells, one for each cell that was measured."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from engine.store.tables import METADATA

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
