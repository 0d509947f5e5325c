"""What runs took on which device, and how much memory a worker's device has: estimates rest on both."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.chassis.sql import JsonText, UtcDateTime

revision = "0004"
down_revision = "0003"
phase = "expand"


def upgrade() -> None:
    """Adds the table of measurements, and the memory of devices; old replicas go on without it."""
    op.create_table(
        "measurements",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("base_model", sa.String(100), nullable=False),
        sa.Column("measurement", JsonText, nullable=False),
        sa.Column("measured_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_measurements_device", "measurements", ["device", "base_model", "measured_at"])
    op.add_column("workers", sa.Column("device_memory_bytes", sa.BigInteger, nullable=False, server_default="0"))
