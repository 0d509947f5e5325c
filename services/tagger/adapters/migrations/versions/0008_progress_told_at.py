"""Tag jobs know when their progress was last told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import UtcDateTime

revision = "0008"
down_revision = "0007"
phase = "expand"


def upgrade() -> None:
    """Adds the column; an older replica beside this one leaves it empty and tells of no progress."""
    op.add_column("tag_jobs", sa.Column("progress_told_at", UtcDateTime, nullable=True))


def downgrade() -> None:
    """Takes it away."""
    op.drop_column("tag_jobs", "progress_told_at")
