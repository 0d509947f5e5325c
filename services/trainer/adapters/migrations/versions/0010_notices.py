"""Jobs say what they did to help themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0010"
down_revision = "0009"
phase = "expand"


def upgrade() -> None:
    """Adds the notices; the default stays for replicas of the release before."""
    op.add_column("training_jobs", sa.Column("notices", JsonText, nullable=False, server_default="[]"))
