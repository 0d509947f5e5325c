"""Where the lists of the trainer lie in SQL."""

from __future__ import annotations

from services.chassis.listing.sql import SqlListing
from services.trainer.adapters.sql_tables import epochs, jobs
from services.trainer.ports import EPOCHS, JOBS

JOB_LIST = SqlListing(JOBS, jobs)
EPOCH_LIST = SqlListing(EPOCHS, epochs)
