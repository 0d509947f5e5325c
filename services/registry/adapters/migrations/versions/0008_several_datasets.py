"""Versions that were trained on several datasets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0008"
down_revision = "0007"
phase = "expand"


def upgrade() -> None:
    """Adds the column; an older replica beside this one leaves it empty."""
    op.add_column("model_versions", sa.Column("datasets", JsonText, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Takes it away."""
    op.drop_column("model_versions", "datasets")
