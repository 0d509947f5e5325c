"""Alembic's entry: the schema of the tagger."""

from services.chassis.sql_migrations import run_migrations
from services.tagger.adapters.tag_job_tables import metadata

run_migrations(metadata)
