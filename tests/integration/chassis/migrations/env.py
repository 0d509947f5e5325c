"""Migrations of the tables that the tests of the SQL layer use; the form that every service's env.py has."""

from __future__ import annotations

from services.chassis.sql_migrations import run_migrations
from tests.integration.chassis.tables import METADATA

run_migrations(METADATA)
