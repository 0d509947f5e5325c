"""What happens to tag jobs, to be published."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import UtcDateTime

revision = "0007"
down_revision = "0006"
phase = "expand"


def upgrade() -> None:
    """Adds the table; an older replica beside this one tells of nothing."""
    op.create_table(
        "events",
        # SQLite numbers only INTEGER primary keys by itself.
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("aggregate", sa.String(512), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("type", sa.String(128), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("source", sa.String(512), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("published_at", UtcDateTime, nullable=True),
        sa.Column("traceparent", sa.String(55), nullable=False, server_default=""),
        sa.UniqueConstraint("aggregate", "sequence", name="uq_events_aggregate_sequence"),
    )
    op.create_index("ix_events_unpublished", "events", ["published_at", "position"])


def downgrade() -> None:
    """Takes it away."""
    op.drop_table("events")
