"""What a worker's program can do, so that a job that waits for a newer one says so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
phase = "expand"


def upgrade() -> None:
    """Adds the columns; empty where a replica of the release before noted the worker."""
    op.add_column("workers", sa.Column("skill", sa.Integer(), nullable=True))
    op.add_column("workers", sa.Column("takes_own", sa.Boolean(), nullable=True))


def downgrade() -> None:
    """Takes them away."""
    op.drop_column("workers", "takes_own")
    op.drop_column("workers", "skill")
