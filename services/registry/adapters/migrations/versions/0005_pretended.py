"""Versions of epochs of a worker that only pretended to train."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
phase = "expand"


def upgrade() -> None:
    """Adds the column; an older replica beside this one leaves it false."""
    op.add_column("model_versions", sa.Column("pretended", sa.Boolean(), nullable=False, server_default=sa.false()))
