"""Versions that were trained on from an earlier LoRA."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
phase = "expand"


def upgrade() -> None:
    """Adds the column; an older replica beside this one leaves it empty."""
    op.add_column("model_versions", sa.Column("initial_lora", sa.String(300), nullable=False, server_default=""))


def downgrade() -> None:
    """Takes it away."""
    op.drop_column("model_versions", "initial_lora")
