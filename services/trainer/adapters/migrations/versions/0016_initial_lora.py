"""Jobs that go on from an earlier LoRA, and the skill that a job needs of a worker's program."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText

revision = "0016"
down_revision = "0015"
phase = "expand"


def upgrade() -> None:
    """Adds the columns; the default stays for replicas of the release before."""
    op.add_column("training_jobs", sa.Column("needs_skill", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("training_jobs", sa.Column("initial_lora", JsonText, nullable=True))


def downgrade() -> None:
    """Takes them away."""
    op.drop_column("training_jobs", "initial_lora")
    op.drop_column("training_jobs", "needs_skill")
