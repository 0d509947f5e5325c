"""Run by services.chassis.sql_migrations.upgrade."""

from services.chassis.sql_migrations import run_migrations
from services.registry.adapters.sql_tables import METADATA

run_migrations(METADATA)
