"""Ended jobs say whether their log was thinned out, and heartbeats touch no index.

On PostgreSQL a heartbeat then rewrites its row within the page: no index entry is written, nothing is left to vacuum.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
phase = "expand"

_UNTHINNED = sa.text("end_time IS NOT NULL AND NOT thinned")


def upgrade() -> None:
    """Adds the mark, and drops the index over a column that every heartbeat changes."""
    # The default stays: a replica of the release before inserts rows without it while the new one starts.
    op.add_column("training_jobs", sa.Column("thinned", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_jobs_unthinned",
        "training_jobs",
        ["end_time"],
        postgresql_where=_UNTHINNED,
        sqlite_where=_UNTHINNED,
    )
    op.drop_index("ix_jobs_held", "training_jobs")
    if op.get_bind().dialect.name == "postgresql":
        # Room for the next version of a row in its own page.
        op.execute("ALTER TABLE training_jobs SET (fillfactor = 70)")
