"""What a picture is inside its bars, what it looks like, and its crop before the last. Images of before have none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0003"
down_revision = "0002"
phase = "expand"


def upgrade() -> None:
    """Adds the columns; an older replica beside this one leaves them as they are."""
    op.add_column("images", sa.Column("content_area", JsonText, nullable=True))
    op.add_column("images", sa.Column("previous_crop", JsonText, nullable=True))
    op.add_column("images", sa.Column("perceptual_hash", sa.String(16), nullable=True))


def downgrade() -> None:
    """Takes the columns away."""
    op.drop_column("images", "perceptual_hash")
    op.drop_column("images", "previous_crop")
    op.drop_column("images", "content_area")
