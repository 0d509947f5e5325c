"""What jobs need of a worker, and what workers can do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0012"
down_revision = "0011"
phase = "expand"


def upgrade() -> None:
    """Adds the columns and the index; the defaults, which mean that nothing is known, stay for replicas of before."""
    for name in ("memory_bytes", "memory_low_bytes"):
        op.add_column("training_jobs", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("training_jobs", sa.Column("memory_class", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("training_jobs", sa.Column("mixed_precision", sa.String(8), nullable=False, server_default=""))
    for name in ("families", "mixed_precisions"):
        op.add_column("workers", sa.Column(name, JsonText, nullable=False, server_default="[]"))
    waiting = sa.text("state = 'QUEUED'")
    op.create_index(
        "ix_jobs_queue_memory",
        "training_jobs",
        ["project", "memory_class", sa.text("priority DESC"), "queued_at", "name"],
        postgresql_where=waiting,
        sqlite_where=waiting,
    )
