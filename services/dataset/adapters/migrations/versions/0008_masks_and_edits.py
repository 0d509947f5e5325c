"""Images carry masks, and what calls change of images is kept so that it can be undone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText, UtcDateTime

revision = "0008"
down_revision = "0007"
phase = "expand"


def upgrade() -> None:
    """Adds columns and tables; an older replica beside this one leaves them as they are."""
    for table in ("images", "version_images"):
        op.add_column(table, sa.Column("mask_key", sa.String(512), nullable=True))
        op.add_column(table, sa.Column("mask_bytes", sa.BigInteger, nullable=True))
        op.add_column(table, sa.Column("mask", JsonText, nullable=True))
    op.create_table(
        "edits",
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("dataset_id", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("method", sa.String(63), nullable=False),
        sa.Column("editor", sa.String(200), nullable=False),
        sa.Column("request_id", sa.String(200), nullable=False),
        sa.Column("fields", JsonText, nullable=False),
        sa.Column("changed_images", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("undoes", sa.Integer, nullable=False),
        sa.Column("undone_by", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("project", "dataset_id", "number"),
    )
    op.create_table(
        "edit_images",
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("dataset_id", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("image_id", sa.String(63), nullable=False),
        sa.Column("before", JsonText, nullable=False),
        sa.Column("after", JsonText, nullable=False),
        sa.Column("mask_key", sa.String(512), nullable=True),
        sa.Column("mask_bytes", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("project", "dataset_id", "number", "image_id"),
    )
    op.create_index("ix_edit_images_image", "edit_images", ["project", "dataset_id", "image_id"])


def downgrade() -> None:
    """Takes them away."""
    op.drop_table("edit_images")
    op.drop_table("edits")
    for table in ("version_images", "images"):
        for column in ("mask", "mask_bytes", "mask_key"):
            op.drop_column(table, column)
