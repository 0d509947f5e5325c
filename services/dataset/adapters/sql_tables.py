"""The tables of the dataset service."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from services.chassis.audit.outbox import outbox_table
from services.chassis.outbox import events_table
from services.chassis.requests.sql import idempotency_table
from services.chassis.sql import JsonText, UtcDateTime

metadata = MetaData()

# Text that is sorted and compared byte by byte on both databases, whatever the language of the server.
SortedText = Text().with_variant(Text(collation="C"), "postgresql")


def _picture_columns() -> tuple[Column[Any], ...]:
    """A stored picture and what training does with it: the same in the live set and in a frozen version."""
    return (
        Column("file_name", Text, nullable=False),
        Column("content_type", String(32), nullable=False),
        Column("width", Integer, nullable=False),
        Column("height", Integer, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("original_key", String(512), nullable=False),
        Column("thumbnail_key", String(512), nullable=False),
        Column("thumbnail_bytes", Integer, nullable=False),
        Column("caption", Text, nullable=False),
        Column("tags", JsonText, nullable=False),
        Column("crop", JsonText, nullable=True),
        Column("num_repeats", Integer, nullable=False),
        # Empty in rows of before each was kept.
        Column("facts", JsonText, nullable=True),
        Column("content_area", JsonText, nullable=True),
        Column("perceptual_hash", String(16), nullable=True),
        Column("caption_origin", JsonText, nullable=True),
        # With a default on the server, for replicas of before.
        Column("labels", JsonText, nullable=False, server_default="{}"),
        # Where the mask is and what it takes, to count it; all else of it beside them.
        Column("mask_key", String(512), nullable=True),
        Column("mask_bytes", BigInteger, nullable=True),
        Column("mask", JsonText, nullable=True),
        Column("text_areas", JsonText, nullable=True),
        Column("features", LargeBinary, nullable=True),
        Column("features_model", String(64), nullable=True),
    )


datasets = Table(
    "datasets",
    metadata,
    Column("project", String(63), nullable=False),
    Column("dataset_id", String(63), nullable=False),
    Column("display_name", Text, nullable=False),
    # The display name in folded case: what people search and sort by.
    Column("folded_name", SortedText, nullable=False),
    Column("description", Text, nullable=False),
    Column("trigger_word", Text, nullable=False),
    Column("num_repeats", Integer, nullable=False),
    Column("image_count", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("last_position", Integer, nullable=False),
    Column("last_version", Integer, nullable=False),
    # With a default on the server, for replicas of before.
    Column("labels", JsonText, nullable=False, server_default="{}"),
    Column("text_from", String(16), nullable=False, server_default="caption_or_tags"),
    Column("subject", Text, nullable=False, server_default=""),
    Column("revision", Integer, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("project", "dataset_id"),
    Index("ix_datasets_create_time", "project", "create_time"),
)

images = Table(
    "images",
    metadata,
    Column("project", String(63), nullable=False),
    Column("dataset_id", String(63), nullable=False),
    Column("image_id", String(63), nullable=False),
    Column("position", Integer, nullable=False),
    *_picture_columns(),
    Column("previous_crop", JsonText, nullable=True),
    Column("revision", Integer, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("project", "dataset_id", "image_id"),
    UniqueConstraint("project", "dataset_id", "position", name="uq_images_position"),
    UniqueConstraint("project", "dataset_id", "sha256", name="uq_images_sha256"),
)

versions = Table(
    "versions",
    metadata,
    Column("project", String(63), nullable=False),
    Column("dataset_id", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("image_count", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("trigger_word", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("text_from", String(16), nullable=False, server_default="caption_or_tags"),
    Column("create_time", UtcDateTime, nullable=False),
    Column("subject", Text, nullable=False, server_default=""),
    Column("labels", JsonText, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("project", "dataset_id", "number"),
    Index("ix_versions_digest", "project", "dataset_id", "digest"),
)

version_images = Table(
    "version_images",
    metadata,
    Column("project", String(63), nullable=False),
    Column("dataset_id", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("image_id", String(63), nullable=False),
    Column("position", Integer, nullable=False),
    *_picture_columns(),
    PrimaryKeyConstraint("project", "dataset_id", "number", "image_id"),
    Index("ix_version_images_image", "project", "dataset_id", "image_id"),
)

# What calls changed of images, to take it back (see models.edits).
edits = Table(
    "edits",
    metadata,
    Column("project", String(63), nullable=False),
    Column("dataset_id", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("method", String(63), nullable=False),
    Column("editor", String(200), nullable=False),
    Column("request_id", String(200), nullable=False),
    Column("fields", JsonText, nullable=False),
    Column("changed_images", Integer, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("undoes", Integer, nullable=False),
    Column("undone_by", Integer, nullable=False),
    PrimaryKeyConstraint("project", "dataset_id", "number"),
)

edit_images = Table(
    "edit_images",
    metadata,
    Column("project", String(63), nullable=False),
    Column("dataset_id", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("image_id", String(63), nullable=False),
    Column("before", JsonText, nullable=False),
    Column("after", JsonText, nullable=False),
    # Of the mask before, whose bytes are kept for the undoing.
    Column("mask_key", String(512), nullable=True),
    Column("mask_bytes", BigInteger, nullable=True),
    PrimaryKeyConstraint("project", "dataset_id", "number", "image_id"),
    Index("ix_edit_images_image", "project", "dataset_id", "image_id"),
)

# Keys of the object store that are being written, or that nothing refers to any more (see ports).
noted_keys = Table(
    "noted_keys",
    metadata,
    Column("key", String(512), primary_key=True),
    Column("due", UtcDateTime, nullable=False),
    Column("claimed", Boolean, nullable=False),
    Index("ix_noted_keys_due", "claimed", "due"),
)

# What each project uses, counted in the transactions that change it (see sql_usage).
project_usage = Table(
    "project_usage",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("datasets", Integer, nullable=False),
    Column("images", Integer, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    # The last hour whose usage was told.
    Column("metered_hour", UtcDateTime, nullable=True),
)

events = events_table(metadata)
# Changes of images until they become events together.
image_notes = Table(
    "image_notes",
    metadata,
    # SQLite numbers only INTEGER primary keys by itself.
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("project", String(63), nullable=False),
    Column("dataset_id", String(63), nullable=False),
    Column("image_id", String(63), nullable=False),
    Column("change", String(8), nullable=False),
    Column("noted_at", UtcDateTime, nullable=False),
    Index("ix_image_notes_dataset", "project", "dataset_id", "position"),
)
idempotency_keys = idempotency_table(metadata)
audit_outbox = outbox_table(metadata)
