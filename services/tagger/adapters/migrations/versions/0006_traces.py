"""Tag jobs know the trace that they belong to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
phase = "expand"


def upgrade() -> None:
    """Adds the column; an older replica beside this one leaves it empty."""
    op.add_column("tag_jobs", sa.Column("traceparent", sa.String(55), nullable=False, server_default=""))
