"""Models and versions carry labels of their callers' own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0002"
down_revision = "0001"
phase = "expand"


def upgrade() -> None:
    """Adds the labels; the default stays for replicas of the release before."""
    for table in ("models", "model_versions"):
        op.add_column(table, sa.Column("labels", JsonText, nullable=False, server_default="{}"))


def downgrade() -> None:
    """Takes the columns away."""
    for table in ("models", "model_versions"):
        op.drop_column(table, "labels")
