"""Run by services.chassis.sql_migrations.upgrade."""

from services.chassis.sql_migrations import run_migrations
from services.notifier.adapters.sql_tables import METADATA

run_migrations(METADATA)
