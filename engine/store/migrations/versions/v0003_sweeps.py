"""Tables of sweeps: a row for each sweep, and one for each of its cells."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the two tables, empty."""
    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("json", sa.Text, nullable=False),
        sa.Column("deleted_at", sa.String(40)),
    )
    op.create_index("sweeps_by_time", "sweeps", ["deleted_at", "created_at"])
    op.create_table(
        "sweep_cells",
        sa.Column("sweep_id", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("json", sa.Text, nullable=False),
    )
