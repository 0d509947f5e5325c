"""Epochs carry labels of their callers' own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0014"
down_revision = "0013"
phase = "expand"


def upgrade() -> None:
    """Adds the labels; the default stays for replicas of the release before."""
    op.add_column("epochs", sa.Column("labels", JsonText, nullable=False, server_default="{}"))


def downgrade() -> None:
    """Takes them away."""
    op.drop_column("epochs", "labels")
