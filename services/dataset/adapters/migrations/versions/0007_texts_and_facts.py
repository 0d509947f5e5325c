"""What texts are made of, who wrote a caption, and in versions what was measured of their pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0007"
down_revision = "0006"
phase = "expand"

_MEASURED = ("facts", "content_area", "perceptual_hash")


def upgrade() -> None:
    """Adds the columns. Versions get what is known of images that still live: an image's pixels never change."""
    for table in ("datasets", "versions"):
        op.add_column(table, sa.Column("text_from", sa.String(16), nullable=False, server_default="caption_or_tags"))
    for table in ("images", "version_images"):
        op.add_column(table, sa.Column("caption_origin", JsonText, nullable=True))
    op.add_column("version_images", sa.Column("facts", JsonText, nullable=True))
    op.add_column("version_images", sa.Column("content_area", JsonText, nullable=True))
    op.add_column("version_images", sa.Column("perceptual_hash", sa.String(16), nullable=True))
    same = " AND ".join(f"images.{key} = version_images.{key}" for key in ("project", "dataset_id", "image_id"))
    sets = ", ".join(f"{name} = (SELECT images.{name} FROM images WHERE {same})" for name in _MEASURED)
    op.execute(f"UPDATE version_images SET {sets}")


def downgrade() -> None:
    """Takes the columns away."""
    for name in (*_MEASURED, "caption_origin"):
        op.drop_column("version_images", name)
    op.drop_column("images", "caption_origin")
    for table in ("versions", "datasets"):
        op.drop_column(table, "text_from")
