"""Tables of the registry. `migrations/` makes them; a contract test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
)

from services.chassis.audit.outbox import outbox_table, record_columns
from services.chassis.outbox import events_table
from services.chassis.requests.sql import idempotency_table
from services.chassis.sql import JsonText, UtcDateTime

METADATA = MetaData()

# Sorted by code point on both databases; PostgreSQL would otherwise sort by the server's language.
_SORTABLE = Text().with_variant(Text(collation="C"), "postgresql")
_ID = String(63)
_SORTABLE_ID = String(63).with_variant(String(63, collation="C"), "postgresql")

MODELS = Table(
    "models",
    METADATA,
    Column("project", _ID, nullable=False),
    Column("model_id", _SORTABLE_ID, nullable=False),
    Column("uid", String(36), nullable=False),
    Column("display_name", Text, nullable=False),
    # display_name without regard to case, for filters and sorting.
    Column("search_name", _SORTABLE, nullable=False),
    Column("description", Text, nullable=False),
    # The highest number ever given: a deleted version's is not used again.
    Column("last_version", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    # With a default on the server, for replicas of before.
    Column("labels", JsonText, nullable=False, server_default="{}"),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("project", "model_id"),
    Index("ix_models_create_time", "project", "create_time", "model_id"),
)

MODEL_TAGS = Table(
    "model_tags",
    METADATA,
    Column("project", _ID, nullable=False),
    Column("model_id", _SORTABLE_ID, nullable=False),
    Column("position", Integer, nullable=False),
    Column("tag", String(60), nullable=False),
    PrimaryKeyConstraint("project", "model_id", "position"),
    ForeignKeyConstraint(["project", "model_id"], ["models.project", "models.model_id"], ondelete="CASCADE"),
    Index("ix_model_tags_tag", "project", "tag"),
)

VERSIONS = Table(
    "model_versions",
    METADATA,
    Column("project", _ID, nullable=False),
    Column("model_id", _SORTABLE_ID, nullable=False),
    Column("number", Integer, nullable=False),
    Column("description", Text, nullable=False),
    Column("trigger_word", Text, nullable=False),
    Column("loss", Double, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("alpha", Double, nullable=False),
    Column("preview_prompts", JsonText, nullable=False),
    Column("model_card", Text, nullable=False),
    Column("dataset_version", String(300), nullable=False),
    Column("dataset_digest", String(64), nullable=False),
    Column("training_job", String(300), nullable=False),
    Column("epoch", String(300), nullable=False),
    Column("base_model", String(100), nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("parameters_sha256", String(64), nullable=False),
    Column("labels", JsonText, nullable=False, server_default="{}"),
    Column("uploaded_file", String(255), nullable=False, server_default=""),
    Column("pretended", Boolean, nullable=False, server_default=false()),
    Column("initial_lora", String(300), nullable=False, server_default=""),
    Column("datasets", JsonText, nullable=False, server_default="[]"),
    Column("create_time", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("project", "model_id", "number"),
    ForeignKeyConstraint(["project", "model_id"], ["models.project", "models.model_id"], ondelete="CASCADE"),
    Index("ix_model_versions_epoch", "epoch"),
)

FILES = Table(
    "version_files",
    METADATA,
    Column("project", _ID, nullable=False),
    Column("model_id", _SORTABLE_ID, nullable=False),
    Column("number", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("file_id", String(60), nullable=False),
    Column("file_name", String(255), nullable=False),
    Column("content_type", String(100), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("object_key", String(1000), nullable=False, unique=True),
    PrimaryKeyConstraint("project", "model_id", "number", "position"),
    ForeignKeyConstraint(
        ["project", "model_id", "number"],
        ["model_versions.project", "model_versions.model_id", "model_versions.number"],
        ondelete="CASCADE",
    ),
)

ALIASES = Table(
    "model_aliases",
    METADATA,
    Column("project", _ID, nullable=False),
    Column("model_id", _SORTABLE_ID, nullable=False),
    Column("alias", _ID, nullable=False),
    Column("number", Integer, nullable=False),
    PrimaryKeyConstraint("project", "model_id", "alias"),
    ForeignKeyConstraint(
        ["project", "model_id", "number"],
        ["model_versions.project", "model_versions.model_id", "model_versions.number"],
        ondelete="CASCADE",
    ),
    Index("ix_model_aliases_number", "project", "model_id", "number"),
)

REQUESTS = idempotency_table(METADATA)

EVENTS = events_table(METADATA)
AUDIT_OUTBOX = outbox_table(METADATA)
AUDIT_RECORDS = Table(
    "audit_records",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("revision", Integer, nullable=False),
    *record_columns(),
    # None until it is on the stream; a record that is corrected is told again.
    Column("published_at", UtcDateTime, nullable=True),
    Index("ix_audit_records_project", "project", "time", "id"),
    Index("ix_audit_records_time", "time", "id"),
    Index("ix_audit_records_unpublished", "published_at", "time"),
)
