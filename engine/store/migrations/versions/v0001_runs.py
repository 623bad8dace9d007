"""What the lab's first version created: each run's JSON, with columns for lists and look-ups."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create what is missing."""
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("batch", sa.Text, nullable=False),
        sa.Column("texts", sa.String(8), nullable=False),
        sa.Column("best_path", sa.Text),
        sa.Column("verdict", sa.String(16)),
        sa.Column("speedup", sa.Float),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("experiment_key", sa.String(64), nullable=False),
        sa.Column("build_key", sa.String(64), nullable=False),
        sa.Column("json", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_index("runs_by_time", "runs", ["created_at"], if_not_exists=True)
    by_key = ["experiment_key", "build_key", "created_at"]
    op.create_index("runs_by_key", "runs", by_key, if_not_exists=True)
