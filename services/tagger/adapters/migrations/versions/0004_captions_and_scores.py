"""What captioners cost and wrote, and the raw scores that are kept with images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import UtcDateTime

revision = "0004"
down_revision = "0003"
phase = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tag_job_images") as table:
        table.add_column(sa.Column("calls", sa.Integer, nullable=False, server_default="0"))
        table.add_column(sa.Column("rescored", sa.Boolean, nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("caption", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "image_scores",
        sa.Column("image", sa.String(300), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("scores", sa.LargeBinary, nullable=False),
        sa.Column("used_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("image", "fingerprint"),
    )
    op.create_index("ix_image_scores_used", "image_scores", ["used_at"])


def downgrade() -> None:
    op.drop_table("image_scores")
    with op.batch_alter_table("tag_job_images") as table:
        for name in ("caption", "rescored", "calls"):
            table.drop_column(name)
