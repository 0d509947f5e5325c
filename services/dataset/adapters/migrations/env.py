"""Runs this service's migrations; started by `services.chassis.sql_migrations.upgrade`."""

from __future__ import annotations

from services.chassis.sql_migrations import run_migrations
from services.dataset.adapters.sql_tables import metadata

run_migrations(metadata)
