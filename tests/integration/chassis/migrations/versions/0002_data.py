"""A column added to a table that has rows, which SQLite can do only by copying the table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
phase = "expand"


def upgrade() -> None:
    """Adds the JSON column and makes the count checked."""
    with op.batch_alter_table("things") as table:
        table.add_column(sa.Column("data", sa.Text, nullable=True))
        table.create_check_constraint("ck_things_count", "count >= 0")
