"""When attempts were at work, for budgets of GPU seconds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import UtcDateTime

revision = "0007"
down_revision = "0006"
phase = "expand"


def upgrade() -> None:
    """Adds the table. What an older replica lets begin is added when it ends."""
    name = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
    op.create_table(
        "attempt_times",
        sa.Column("job", name, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("start_time", UtcDateTime, nullable=False),
        sa.Column("project", name, nullable=False),
        sa.Column("end_time", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("job", "number", "start_time"),
    )
    op.create_index("ix_attempt_times_project", "attempt_times", ["project", "end_time"])


def downgrade() -> None:
    """Takes the table away."""
    op.drop_table("attempt_times")
