"""Datasets and their versions say what the photos show."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
phase = "expand"
_TABLES = ("datasets", "versions")


def upgrade() -> None:
    """Adds the subject; the default stays for replicas of the release before."""
    for table in _TABLES:
        op.add_column(table, sa.Column("subject", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Takes the columns away."""
    for table in _TABLES:
        op.drop_column(table, "subject")
