"""What each project uses, and the events that tell of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import UtcDateTime

revision = "0004"
down_revision = "0003"
phase = "expand"


def upgrade() -> None:
    """Adds the tables and counts what is there. An older replica beside this one changes nothing in them; metering
    counts anew every hour."""
    op.create_table(
        "project_usage",
        sa.Column("project", sa.String(63), primary_key=True),
        sa.Column("datasets", sa.Integer, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("stored_bytes", sa.BigInteger, nullable=False),
        sa.Column("metered_hour", UtcDateTime, nullable=True),
    )
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
        sa.UniqueConstraint("aggregate", "sequence", name="uq_events_aggregate_sequence"),
    )
    op.create_index("ix_events_unpublished", "events", ["published_at", "position"])
    op.execute(
        """
        INSERT INTO project_usage (project, datasets, images, stored_bytes)
        SELECT project, COUNT(*), SUM(image_count), COALESCE(
            (SELECT SUM(size_bytes + thumbnail_bytes) FROM (
                SELECT project, original_key, size_bytes, thumbnail_bytes FROM images
                UNION SELECT project, original_key, size_bytes, thumbnail_bytes FROM version_images
            ) AS held WHERE held.project = datasets.project), 0)
        FROM datasets GROUP BY project
        """
    )


def downgrade() -> None:
    """Takes the tables away."""
    op.drop_table("events")
    op.drop_table("project_usage")
