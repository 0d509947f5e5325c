"""First tables: datasets, images, versions, the pinned images, noted keys, remembered requests."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText, UtcDateTime

revision = "0001"
down_revision = None
phase = "expand"


def upgrade() -> None:
    """Creates the tables."""
    sorted_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "datasets",
        *_dataset_columns(),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("folded_name", sorted_text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("trigger_word", sa.Text, nullable=False),
        sa.Column("num_repeats", sa.Integer, nullable=False),
        sa.Column("image_count", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("last_position", sa.Integer, nullable=False),
        sa.Column("last_version", sa.Integer, nullable=False),
        *_history_columns(),
        sa.PrimaryKeyConstraint("project", "dataset_id"),
    )
    op.create_index("ix_datasets_create_time", "datasets", ["project", "create_time"])
    op.create_table(
        "images",
        *_dataset_columns(),
        sa.Column("image_id", sa.String(63), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        *_picture_columns(),
        *_history_columns(),
        sa.PrimaryKeyConstraint("project", "dataset_id", "image_id"),
        sa.UniqueConstraint("project", "dataset_id", "position", name="uq_images_position"),
        sa.UniqueConstraint("project", "dataset_id", "sha256", name="uq_images_sha256"),
    )
    op.create_table(
        "versions",
        *_dataset_columns(),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("image_count", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("trigger_word", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("project", "dataset_id", "number"),
    )
    op.create_index("ix_versions_digest", "versions", ["project", "dataset_id", "digest"])
    op.create_table(
        "version_images",
        *_dataset_columns(),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("image_id", sa.String(63), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        *_picture_columns(),
        sa.PrimaryKeyConstraint("project", "dataset_id", "number", "image_id"),
    )
    op.create_index("ix_version_images_image", "version_images", ["project", "dataset_id", "image_id"])
    op.create_table(
        "noted_keys",
        sa.Column("key", sa.String(512), primary_key=True),
        sa.Column("due", UtcDateTime, nullable=False),
        sa.Column("claimed", sa.Boolean, nullable=False),
    )
    op.create_index("ix_noted_keys_due", "noted_keys", ["claimed", "due"])
    op.create_table(
        "idempotency_keys",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("method", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("resource_name", sa.String(512), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("project", "method", "request_id"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    """Drops the tables and with them all data."""
    for table in ("idempotency_keys", "noted_keys", "version_images", "versions", "images", "datasets"):
        op.drop_table(table)


def _dataset_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("dataset_id", sa.String(63), nullable=False),
    )


def _picture_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("content_type", sa.String(32), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("original_key", sa.String(512), nullable=False),
        sa.Column("thumbnail_key", sa.String(512), nullable=False),
        sa.Column("thumbnail_bytes", sa.Integer, nullable=False),
        sa.Column("caption", sa.Text, nullable=False),
        sa.Column("tags", JsonText, nullable=False),
        sa.Column("crop", JsonText, nullable=True),
        sa.Column("num_repeats", sa.Integer, nullable=False),
    )


def _history_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
    )
