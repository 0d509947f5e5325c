"""Which images no model of the tagger knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
phase = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tag_job_images") as table:
        table.add_column(sa.Column("outside_domain", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("tag_job_images") as table:
        table.drop_column("outside_domain")
