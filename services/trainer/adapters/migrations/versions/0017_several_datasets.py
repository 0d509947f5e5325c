"""Jobs that train several datasets together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0017"
down_revision = "0016"
phase = "expand"


def upgrade() -> None:
    """Adds the column; the default stays for replicas of the release before."""
    op.add_column("training_jobs", sa.Column("datasets", JsonText, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Takes it away."""
    op.drop_column("training_jobs", "datasets")
