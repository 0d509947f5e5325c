"""Models, their tags and aliases, versions and their files."""

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText, UtcDateTime

revision = "0001"
down_revision = None
phase = "expand"
branch_labels = None
depends_on = None

_ID = sa.String(63)
_SORTABLE_ID = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")
_SORTABLE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """From an empty database."""
    op.create_table(
        "models",
        sa.Column("project", _ID, nullable=False),
        sa.Column("model_id", _SORTABLE_ID, nullable=False),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("search_name", _SORTABLE, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("last_version", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("project", "model_id"),
    )
    op.create_index("ix_models_create_time", "models", ["project", "create_time", "model_id"])
    op.create_table(
        "model_tags",
        sa.Column("project", _ID, nullable=False),
        sa.Column("model_id", _SORTABLE_ID, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("tag", sa.String(60), nullable=False),
        sa.PrimaryKeyConstraint("project", "model_id", "position"),
        sa.ForeignKeyConstraint(["project", "model_id"], ["models.project", "models.model_id"], ondelete="CASCADE"),
    )
    op.create_index("ix_model_tags_tag", "model_tags", ["project", "tag"])
    op.create_table(
        "model_versions",
        sa.Column("project", _ID, nullable=False),
        sa.Column("model_id", _SORTABLE_ID, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("trigger_word", sa.Text, nullable=False),
        sa.Column("loss", sa.Double, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("alpha", sa.Double, nullable=False),
        sa.Column("preview_prompts", JsonText, nullable=False),
        sa.Column("model_card", sa.Text, nullable=False),
        sa.Column("dataset_version", sa.String(300), nullable=False),
        sa.Column("dataset_digest", sa.String(64), nullable=False),
        sa.Column("training_job", sa.String(300), nullable=False),
        sa.Column("epoch", sa.String(300), nullable=False),
        sa.Column("base_model", sa.String(100), nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("parameters_sha256", sa.String(64), nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("project", "model_id", "number"),
        sa.ForeignKeyConstraint(["project", "model_id"], ["models.project", "models.model_id"], ondelete="CASCADE"),
    )
    op.create_index("ix_model_versions_epoch", "model_versions", ["epoch"])
    _create_tables_of_versions()
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
    """Back to an empty database."""
    for table in (
        "idempotency_keys", "model_aliases", "version_files", "model_versions", "model_tags", "models",
    ):  # fmt: skip
        op.drop_table(table)


def _create_tables_of_versions() -> None:
    version = ["model_versions.project", "model_versions.model_id", "model_versions.number"]
    op.create_table(
        "version_files",
        sa.Column("project", _ID, nullable=False),
        sa.Column("model_id", _SORTABLE_ID, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("file_id", sa.String(60), nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("content_type", sa.String(100), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("object_key", sa.String(1000), nullable=False, unique=True),
        sa.PrimaryKeyConstraint("project", "model_id", "number", "position"),
        sa.ForeignKeyConstraint(["project", "model_id", "number"], version, ondelete="CASCADE"),
    )
    op.create_table(
        "model_aliases",
        sa.Column("project", _ID, nullable=False),
        sa.Column("model_id", _SORTABLE_ID, nullable=False),
        sa.Column("alias", _ID, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("project", "model_id", "alias"),
        sa.ForeignKeyConstraint(["project", "model_id", "number"], version, ondelete="CASCADE"),
    )
    op.create_index("ix_model_aliases_number", "model_aliases", ["project", "model_id", "number"])
