"""Versions of files from outside: the name of the file that was uploaded. Versions of epochs have none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
phase = "expand"


def upgrade() -> None:
    """Adds the column; an older replica beside this one leaves it empty."""
    op.add_column("model_versions", sa.Column("uploaded_file", sa.String(255), nullable=False, server_default=""))
