"""Facts of a picture: shape, exposure, sharpness. Images of before have none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0002"
down_revision = "0001"
phase = "expand"


def upgrade() -> None:
    """Adds the column; an older replica beside this one leaves it empty."""
    op.add_column("images", sa.Column("facts", JsonText, nullable=True))


def downgrade() -> None:
    """Takes the column away."""
    op.drop_column("images", "facts")
