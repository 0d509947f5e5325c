"""Images, and those of versions, keep what a network saw of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
phase = "expand"
_TABLES = ("images", "version_images")


def upgrade() -> None:
    """Adds the columns; where they are empty no tag job has looked."""
    for table in _TABLES:
        op.add_column(table, sa.Column("features", sa.LargeBinary, nullable=True))
        op.add_column(table, sa.Column("features_model", sa.String(64), nullable=True))


def downgrade() -> None:
    """Takes the columns away."""
    for table in _TABLES:
        op.drop_column(table, "features_model")
        op.drop_column(table, "features")
