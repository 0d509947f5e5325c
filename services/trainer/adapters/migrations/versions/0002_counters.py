"""Each job counts its events and remembers the step of its last point, so that a heartbeat needs no look-up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
phase = "contract"
oldest_code = "0002"

_LAST_EVENT = "SELECT MAX(sequence) FROM events WHERE events.aggregate = training_jobs.name"
_LAST_STEP = "SELECT MAX(last_step) FROM metric_chunks WHERE metric_chunks.job = training_jobs.name"


def upgrade() -> None:
    """Adds the counters and fills them from what is stored."""
    for name in ("last_event", "last_metric_step"):
        op.add_column("training_jobs", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.execute(
        f"UPDATE training_jobs SET last_event = COALESCE(({_LAST_EVENT}), 0),"
        f" last_metric_step = COALESCE(({_LAST_STEP}), 0)"
    )
    # Written by every insert from now on; a forgotten one must fail.
    with op.batch_alter_table("training_jobs") as table:
        for name in ("last_event", "last_metric_step"):
            table.alter_column(name, server_default=None, existing_type=sa.BigInteger, existing_nullable=False)
