"""The tables that the tests of the SQL layer use."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import CheckConstraint, Column, Integer, MetaData, String, Table

from services.chassis.outbox import events_table
from services.chassis.requests.sql import idempotency_table
from services.chassis.sql import JsonText, UtcDateTime

METADATA = MetaData()
THINGS = Table(
    "things",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=True),
    Column("data", JsonText, nullable=True),
    CheckConstraint("count >= 0", name="ck_things_count"),
)
EVENTS = events_table(METADATA)
IDEMPOTENCY_KEYS = idempotency_table(METADATA)
MIGRATIONS = Path(__file__).parent / "migrations"
