"""Audit records on their way to the registry."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import UtcDateTime

revision = "0003"
down_revision = "0002"
phase = "expand"


def upgrade() -> None:
    """Adds the table; an older replica beside this one writes no records."""
    op.create_table(
        "audit_outbox",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("principal", sa.String(300), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("method", sa.String(200), nullable=False),
        sa.Column("resource", sa.String(512), nullable=False),
        sa.Column("code", sa.String(30), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", "revision"),
    )


def downgrade() -> None:
    """Takes it away."""
    op.drop_table("audit_outbox")
