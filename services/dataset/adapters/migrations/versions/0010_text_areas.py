"""Images, and those of versions, say where something is written in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0010"
down_revision = "0009"
phase = "expand"
_TABLES = ("images", "version_images")


def upgrade() -> None:
    """Adds the column; where it is empty nobody has looked, or there is nothing."""
    for table in _TABLES:
        op.add_column(table, sa.Column("text_areas", JsonText, nullable=True))


def downgrade() -> None:
    """Takes the column away."""
    for table in _TABLES:
        op.drop_column(table, "text_areas")
