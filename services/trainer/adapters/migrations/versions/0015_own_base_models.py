"""Base models that projects upload for themselves, and which entry of the catalogue a job on one of them needs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText, UtcDateTime

revision = "0015"
down_revision = "0014"
phase = "expand"


def upgrade() -> None:
    """Adds the tables; the default of the columns stays for replicas of the release before."""
    name = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
    op.create_table(
        "base_models",
        sa.Column("name", name, primary_key=True),
        sa.Column("project", name, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("license", sa.Text, nullable=False),
        sa.Column("labels", JsonText, nullable=False),
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("header_bytes", sa.Integer, nullable=False),
        sa.Column("header_sha256", sa.String(64), nullable=False),
        sa.Column("precision", sa.String(8), nullable=False),
        sa.Column("families", JsonText, nullable=False),
        sa.Column("based_on", sa.String(100), nullable=False),
        sa.Column("family", sa.String(60), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("parts", JsonText, nullable=False),
        sa.Column("error", JsonText, nullable=True),
        sa.Column("attempts", JsonText, nullable=False),
        sa.Column("lease_token", sa.String(64), nullable=True),
        sa.Column("lease_worker", sa.String(100), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime, nullable=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
    )
    unready = sa.text("state = 'UPLOADING' OR state = 'CHECKING'")
    op.create_index(
        "ix_base_models_unready", "base_models", ["update_time"], postgresql_where=unready, sqlite_where=unready
    )
    op.create_index("ix_base_models_created", "base_models", ["project", "create_time", "name"])
    op.create_table(
        "base_model_meter",
        sa.Column("project", name, primary_key=True),
        sa.Column("hour", UtcDateTime, nullable=False),
    )
    for table in ("training_jobs", "preview_requests"):
        op.add_column(table, sa.Column("entry", sa.String(100), nullable=False, server_default=""))
    op.create_index(
        "ix_jobs_own_model",
        "training_jobs",
        ["base_model"],
        postgresql_where=sa.text("entry <> ''"),
        sqlite_where=sa.text("entry <> ''"),
    )


def downgrade() -> None:
    """Takes them away."""
    op.drop_index("ix_jobs_own_model", "training_jobs")
    for table in ("training_jobs", "preview_requests"):
        op.drop_column(table, "entry")
    op.drop_table("base_model_meter")
    op.drop_table("base_models")
