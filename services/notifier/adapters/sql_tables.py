"""Tables of the notifier. `migrations/` makes them; a contract test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from services.chassis.audit.outbox import outbox_table
from services.chassis.outbox import events_table
from services.chassis.requests.sql import idempotency_table
from services.chassis.sql import JsonText, UtcDateTime

METADATA = MetaData()

# Sorted by code point on both databases; PostgreSQL would otherwise sort by the server's language.
_SORTABLE = Text().with_variant(Text(collation="C"), "postgresql")
_ID = String(63)
_SORTABLE_ID = String(63).with_variant(String(63, collation="C"), "postgresql")

WEBHOOKS = Table(
    "webhooks",
    METADATA,
    Column("project", _ID, nullable=False),
    Column("webhook_id", _SORTABLE_ID, nullable=False),
    Column("uid", String(36), nullable=False),
    Column("display_name", Text, nullable=False),
    # display_name without regard to case, for filters and sorting.
    Column("search_name", _SORTABLE, nullable=False),
    Column("url", _SORTABLE, nullable=False),
    Column("event_types", JsonText, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("disabled_reason", Text, nullable=False),
    Column("labels", JsonText, nullable=False),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text, nullable=False),
    Column("previous_until", UtcDateTime, nullable=True),
    Column("failing_since", UtcDateTime, nullable=True),
    Column("last_success_time", UtcDateTime, nullable=True),
    Column("revision", Integer, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("project", "webhook_id"),
    Index("ix_webhooks_create_time", "project", "create_time", "webhook_id"),
)

RECEIVED = Table(
    "received_events",
    METADATA,
    Column("id", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("id"),
    Index("ix_received_events_received_at", "received_at"),
)

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("project", _ID, nullable=False),
    Column("webhook_id", _SORTABLE_ID, nullable=False),
    Column("delivery_id", _SORTABLE_ID, nullable=False),
    Column("event_id", String(64), nullable=False),
    Column("event_type", String(128), nullable=False),
    Column("state", String(20), nullable=False),
    Column("attempts", JsonText, nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    # Whoever claims a delivery moves it to when the claim runs out, and puts a token of its own beside it.
    Column("next_attempt_time", UtcDateTime, nullable=True),
    Column("claim_token", String(36), nullable=False),
    Column("give_up_time", UtcDateTime, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("end_time", UtcDateTime, nullable=True),
    PrimaryKeyConstraint("project", "webhook_id", "delivery_id"),
    ForeignKeyConstraint(["project", "webhook_id"], ["webhooks.project", "webhooks.webhook_id"], ondelete="CASCADE"),
    Index("ix_deliveries_event", "event_id", "project", "webhook_id", unique=True),
    Index("ix_deliveries_create_time", "project", "webhook_id", "create_time", "delivery_id"),
    Index("ix_deliveries_end_time", "end_time"),
    Index(
        "ix_deliveries_due",
        "project",
        "webhook_id",
        "next_attempt_time",
        sqlite_where=text("state = 'PENDING'"),
        postgresql_where=text("state = 'PENDING'"),
    ),
)

EVENTS = events_table(METADATA)
REQUESTS = idempotency_table(METADATA)
AUDIT_OUTBOX = outbox_table(METADATA)
