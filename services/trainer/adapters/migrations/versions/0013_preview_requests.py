"""Requests for pictures of epochs and model versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText, UtcDateTime

revision = "0013"
down_revision = "0012"
phase = "expand"


def upgrade() -> None:
    """Adds the table."""
    name = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
    op.create_table(
        "preview_requests",
        sa.Column("name", name, primary_key=True),
        sa.Column("project", name, nullable=False),
        sa.Column("base_model", sa.String(100), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("live_job", name, nullable=False),
        sa.Column("drawing", JsonText, nullable=False),
        sa.Column("cells", JsonText, nullable=False),
        sa.Column("error", JsonText, nullable=True),
        sa.Column("attempts", JsonText, nullable=False),
        sa.Column("lease_token", sa.String(64), nullable=True),
        sa.Column("lease_worker", sa.String(100), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime, nullable=True),
        sa.Column("wanted_until", UtcDateTime, nullable=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("start_time", UtcDateTime, nullable=True),
        sa.Column("end_time", UtcDateTime, nullable=True),
        sa.Column("expire_time", UtcDateTime, nullable=False),
    )
    unended = sa.text("end_time IS NULL")
    op.create_index(
        "ix_previews_unended", "preview_requests", ["project"], postgresql_where=unended, sqlite_where=unended
    )
    op.create_index("ix_previews_created", "preview_requests", ["project", "create_time", "name"])
    op.create_index("ix_previews_expire", "preview_requests", ["expire_time"])


def downgrade() -> None:
    """Takes the table away."""
    op.drop_table("preview_requests")
