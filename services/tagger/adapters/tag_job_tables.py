"""The tables of tag jobs."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
)

from services.chassis import tracing
from services.chassis.audit.outbox import outbox_table
from services.chassis.outbox import events_table
from services.chassis.requests.sql import idempotency_table
from services.chassis.sql import JsonText, UtcDateTime

metadata = MetaData()

tag_jobs = Table(
    "tag_jobs",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("dataset", String(200), nullable=False),
    Column("options", JsonText, nullable=False),
    Column("state", String(16), nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("error", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=True),
    Column("revision", Integer, nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("principal", String(200), nullable=False),
    # Who runs the job, and until when others leave it alone.
    Column("owner", String(80), nullable=False),
    Column("owned_until", UtcDateTime, nullable=True),
    # With a default on the server, for replicas of before.
    Column("labels", JsonText, nullable=False, server_default="{}"),
    Column("traceparent", String(tracing.LONGEST), nullable=False, server_default=""),
    Column("progress_told_at", UtcDateTime, nullable=True),
    Index("ix_tag_jobs_project_created", "project", "created_at", "name"),
    Index("ix_tag_jobs_state_created", "state", "created_at"),
)

tag_job_images = Table(
    "tag_job_images",
    metadata,
    Column("job", String(200), ForeignKey("tag_jobs.name", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("image", String(300), nullable=False),
    Column("state", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("added", JsonText, nullable=False),
    Column("removed", JsonText, nullable=False),
    Column("outside_domain", Boolean, nullable=False, server_default=false()),
    # With defaults on the server, for replicas of before.
    Column("calls", Integer, nullable=False, server_default="0"),
    Column("rescored", Boolean, nullable=False, server_default=false()),
    Column("caption", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("job", "position"),
    Index("ix_tag_job_images_image", "job", "image", unique=True),
)

# Raw scores of an image by the tagger that gave them: zlib over JSON.
image_scores = Table(
    "image_scores",
    metadata,
    Column("image", String(300), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("scores", LargeBinary, nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("image", "fingerprint"),
    Index("ix_image_scores_used", "used_at"),
)

idempotency_keys = idempotency_table(metadata)
events = events_table(metadata)
audit_outbox = outbox_table(metadata)
