"""Tag jobs with their images, and remembered request ids."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText, UtcDateTime

revision = "0001"
down_revision = None
phase = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tag_jobs",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("options", JsonText, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("principal", sa.String(200), nullable=False),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("owned_until", UtcDateTime, nullable=True),
    )
    op.create_index("ix_tag_jobs_project_created", "tag_jobs", ["project", "created_at", "name"])
    op.create_index("ix_tag_jobs_state_created", "tag_jobs", ["state", "created_at"])
    op.create_table(
        "tag_job_images",
        sa.Column("job", sa.String(200), sa.ForeignKey("tag_jobs.name", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("image", sa.String(300), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("added", JsonText, nullable=False),
        sa.Column("removed", JsonText, nullable=False),
        sa.PrimaryKeyConstraint("job", "position"),
    )
    op.create_index("ix_tag_job_images_image", "tag_job_images", ["job", "image"], unique=True)
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
    op.drop_table("idempotency_keys")
    op.drop_table("tag_job_images")
    op.drop_table("tag_jobs")
