"""Epochs of a worker that only pretends to train."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
phase = "expand"


def upgrade() -> None:
    """Adds the column; an older replica beside this one leaves it false."""
    op.add_column("epochs", sa.Column("pretended", sa.Boolean(), nullable=False, server_default=sa.false()))
