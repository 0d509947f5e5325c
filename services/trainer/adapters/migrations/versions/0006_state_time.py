"""Jobs know since when they are in their state, so that the time in each state can be measured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import UtcDateTime

revision = "0006"
down_revision = "0005"
phase = "expand"


def upgrade() -> None:
    """Adds the moment; replicas of the release before leave it as it is."""
    op.add_column("training_jobs", sa.Column("state_time", UtcDateTime, nullable=True))
