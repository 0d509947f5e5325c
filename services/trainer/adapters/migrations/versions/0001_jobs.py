"""First tables: jobs, project shares, epochs, points, workers, event log, remembered requests."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText, UtcDateTime

revision = "0001"
down_revision = None
phase = "expand"

_NAME = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
_WAITING = sa.text("state = 'QUEUED'")
_HELD = sa.text("lease_token IS NOT NULL")


def upgrade() -> None:
    """Creates the tables."""
    _create_jobs()
    op.create_table(
        "project_shares",
        sa.Column("project", _NAME, primary_key=True),
        sa.Column("served_at", UtcDateTime, nullable=True),
    )
    op.create_table(
        "epochs",
        sa.Column("job", _NAME, sa.ForeignKey("training_jobs.name"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("loss", sa.Float(53), nullable=False),
        sa.Column("files", JsonText, nullable=False),
        sa.Column("previews", JsonText, nullable=False),
        sa.Column("evaluation", JsonText, nullable=True),
        sa.Column("reload_difference", sa.Float(53), nullable=False),
        sa.Column("train_seconds", sa.Float(53), nullable=False),
        sa.Column("checkpoint", JsonText, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("job", "number"),
    )
    op.create_table(
        "metric_chunks",
        sa.Column("job", _NAME, sa.ForeignKey("training_jobs.name"), nullable=False),
        sa.Column("first_step", sa.BigInteger, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("points", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("job", "last_step"),
    )
    op.create_table(
        "workers",
        sa.Column("worker_id", sa.String(100), primary_key=True),
        sa.Column("base_models", JsonText, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
    )
    _create_events()
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


def _create_jobs() -> None:
    op.create_table(
        "training_jobs",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("project", _NAME, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("base_model", sa.String(100), nullable=False),
        sa.Column("dataset_version", sa.String(300), nullable=False),
        sa.Column("dataset_digest", sa.String(64), nullable=False),
        sa.Column("image_count", sa.Integer, nullable=False),
        sa.Column("trigger_word", sa.Text, nullable=False),
        sa.Column("parameters", JsonText, nullable=False),
        sa.Column("steps_per_epoch", sa.BigInteger, nullable=False),
        sa.Column("samples_per_step", sa.Integer, nullable=False),
        sa.Column("total_steps", sa.BigInteger, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("progress", JsonText, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("epochs_completed", sa.Integer, nullable=False),
        sa.Column("error", JsonText, nullable=True),
        sa.Column("recommended_epoch", sa.Integer, nullable=False),
        sa.Column("recommendation_reason", sa.Text, nullable=False),
        sa.Column("attempts", JsonText, nullable=False),
        sa.Column("lease_token", sa.String(64), nullable=True),
        sa.Column("lease_worker", sa.String(100), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime, nullable=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("stop_requested", sa.Boolean, nullable=False),
        sa.Column("base_previews", JsonText, nullable=False),
        sa.Column("progress_told_at", UtcDateTime, nullable=True),
        sa.Column("seconds_per_sample", sa.Float(53), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("queued_at", UtcDateTime, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("start_time", UtcDateTime, nullable=True),
        sa.Column("end_time", UtcDateTime, nullable=True),
        sa.Column("update_time", UtcDateTime, nullable=False),
    )
    waiting: dict[str, Any] = {"postgresql_where": _WAITING, "sqlite_where": _WAITING}
    held: dict[str, Any] = {"postgresql_where": _HELD, "sqlite_where": _HELD}
    first = sa.text("priority DESC")
    op.create_index("ix_jobs_queue", "training_jobs", ["project", first, "queued_at", "name"], **waiting)
    op.create_index(
        "ix_jobs_queue_model", "training_jobs", ["project", "base_model", first, "queued_at", "name"], **waiting
    )
    op.create_index("ix_jobs_held", "training_jobs", ["lease_expires_at"], **held)
    op.create_index("ix_jobs_active", "training_jobs", ["project"], **held)
    op.create_index("ix_jobs_created", "training_jobs", ["project", "create_time", "name"])
    op.create_index("ix_jobs_pace", "training_jobs", ["base_model", "end_time"])


def _create_events() -> None:
    op.create_table(
        "events",
        # SQLite numbers only INTEGER primary keys by itself.
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
