"""Changes of images wait here to be told together; images and versions carry labels of their callers' own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText, UtcDateTime

revision = "0012"
down_revision = "0011"
phase = "expand"
_LABELLED = ("images", "version_images", "versions")


def upgrade() -> None:
    """Adds them; the default stays for replicas of the release before, which tell nothing of images."""
    for table in _LABELLED:
        op.add_column(table, sa.Column("labels", JsonText, nullable=False, server_default="{}"))
    op.create_table(
        "image_notes",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("dataset_id", sa.String(63), nullable=False),
        sa.Column("image_id", sa.String(63), nullable=False),
        sa.Column("change", sa.String(8), nullable=False),
        sa.Column("noted_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_image_notes_dataset", "image_notes", ["project", "dataset_id", "position"])


def downgrade() -> None:
    """Takes them away."""
    op.drop_table("image_notes")
    for table in _LABELLED:
        op.drop_column(table, "labels")
