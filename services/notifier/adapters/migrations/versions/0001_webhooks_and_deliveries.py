"""Webhooks, the events that they wait for, their deliveries, and the log of the notifier's own events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText, UtcDateTime

revision = "0001"
down_revision = None
phase = "expand"

_ID = sa.String(63)
_SORTABLE_ID = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")
_SORTABLE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """From an empty database."""
    op.create_table(
        "webhooks",
        sa.Column("project", _ID, nullable=False),
        sa.Column("webhook_id", _SORTABLE_ID, nullable=False),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("search_name", _SORTABLE, nullable=False),
        sa.Column("url", _SORTABLE, nullable=False),
        sa.Column("event_types", JsonText, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("disabled_reason", sa.Text, nullable=False),
        sa.Column("labels", JsonText, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("previous_secret", sa.Text, nullable=False),
        sa.Column("previous_until", UtcDateTime, nullable=True),
        sa.Column("failing_since", UtcDateTime, nullable=True),
        sa.Column("last_success_time", UtcDateTime, nullable=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("project", "webhook_id"),
    )
    op.create_index("ix_webhooks_create_time", "webhooks", ["project", "create_time", "webhook_id"])
    op.create_table(
        "received_events",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_received_events_received_at", "received_events", ["received_at"])
    _create_deliveries()
    _create_tables_of_the_frame()


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("project", _ID, nullable=False),
        sa.Column("webhook_id", _SORTABLE_ID, nullable=False),
        sa.Column("delivery_id", _SORTABLE_ID, nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("event_type", sa.String(128), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("attempts", JsonText, nullable=False),
        sa.Column("attempt_count", sa.Integer, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_attempt_time", UtcDateTime, nullable=True),
        sa.Column("claim_token", sa.String(36), nullable=False),
        sa.Column("give_up_time", UtcDateTime, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("end_time", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("project", "webhook_id", "delivery_id"),
        sa.ForeignKeyConstraint(
            ["project", "webhook_id"], ["webhooks.project", "webhooks.webhook_id"], ondelete="CASCADE"
        ),
    )
    op.create_index("ix_deliveries_event", "deliveries", ["event_id", "project", "webhook_id"], unique=True)
    op.create_index("ix_deliveries_create_time", "deliveries", ["project", "webhook_id", "create_time", "delivery_id"])
    op.create_index("ix_deliveries_end_time", "deliveries", ["end_time"])
    waiting = sa.text("state = 'PENDING'")
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["project", "webhook_id", "next_attempt_time"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )


def _create_tables_of_the_frame() -> None:
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("aggregate", sa.String(512), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("type", sa.String(128), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("source", sa.String(512), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("published_at", UtcDateTime, nullable=True),
        sa.UniqueConstraint("aggregate", "sequence", name="uq_events_aggregate_sequence"),
    )
    op.create_index("ix_events_unpublished", "events", ["published_at", "position"])
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
    op.create_table(
        "audit_outbox",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("principal", sa.String(300), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("method", sa.String(200), nullable=False),
        sa.Column("resource", sa.String(512), nullable=False),
        sa.Column("code", sa.String(30), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", "revision"),
    )
