"""Tables for lists, which are found, sorted and filtered without reading a run's JSON; titles, tags and notes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the three tables, empty."""
    _rows()
    _paths()
    op.create_table(
        "run_tags",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("tag", sa.Text, primary_key=True),
    )
    op.create_index("run_tags_by_tag", "run_tags", ["tag", "run_id"])


def _rows() -> None:
    op.create_table(
        "run_rows",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("texts", sa.String(8), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("batch", sa.Text, nullable=False),
        sa.Column("device", sa.Text),
        sa.Column("dtype", sa.String(16)),
        sa.Column("allocator", sa.String(16)),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("best_path", sa.Text),
        sa.Column("verdict", sa.String(16)),
        sa.Column("speedup", sa.Float),
        sa.Column("experiment_key", sa.String(64), nullable=False),
        sa.Column("paths", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("renamed", sa.Boolean, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("searched", sa.Text, nullable=False),
        sa.Column("deleted_at", sa.String(40)),
    )
    op.create_index("run_rows_by_time", "run_rows", ["deleted_at", "created_at", "id"])
    by_speedup = ["deleted_at", "speedup", "created_at", "id"]
    op.create_index("run_rows_by_speedup", "run_rows", by_speedup)
    by_experiment = ["experiment_key", "deleted_at", "created_at", "id"]
    op.create_index("run_rows_by_experiment", "run_rows", by_experiment)
    model, measured = ["texts", "model", "batch"], ["device", "dtype", "allocator", "machine", "verdict"]
    op.create_index("run_rows_by_choice", "run_rows", ["deleted_at", *model, *measured])


def _paths() -> None:
    op.create_table(
        "run_paths",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("is_baseline", sa.Boolean, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("speedup", sa.Float),
        sa.Column("low", sa.Float),
        sa.Column("high", sa.Float),
        sa.Column("verdict", sa.String(16)),
        sa.Column("median_ms", sa.Float),
    )
    op.create_index("run_paths_by_path", "run_paths", ["path", "status", "run_id"])
