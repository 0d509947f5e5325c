"""Measured runs in SQL: one row a run, the numbers as JSON, since nothing but Python reads them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, or_, select

from services.chassis.sql import Database
from services.trainer.adapters.sql_tables import jobs, measurements, workers
from services.trainer.ports import MEASUREMENTS_KEPT, PresentDevice
from services.trainer.recipe.calibration import Measurement, Part
from services.trainer.recipe.costs import Counted

_COLUMNS = ("device", "base_model", "measured_at")


class SqlMeasurements:
    """Implements `ports.Measurements`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, measurement: Measurement) -> None:
        values = asdict(measurement)
        own = {name: values.pop(name) for name in _COLUMNS}
        of_its_kind = (measurements.c.device == measurement.device, measurements.c.base_model == measurement.base_model)
        newest = (
            select(measurements.c.id)
            .where(*of_its_kind)
            .order_by(measurements.c.measured_at.desc(), measurements.c.id.desc())
            .limit(MEASUREMENTS_KEPT)
        )
        async with self._db.begin() as conn:
            await conn.execute(insert(measurements).values(measurement=values, **own))
            kept = (await conn.scalars(newest)).all()
            await conn.execute(delete(measurements).where(*of_its_kind, measurements.c.id.not_in(kept)))

    async def read(self, devices: Collection[str] | None, limit: int) -> Sequence[Measurement]:
        statement = select(measurements).order_by(measurements.c.measured_at.desc(), measurements.c.id.desc())
        if devices is not None:
            statement = statement.where(measurements.c.device.in_(devices))
        async with self._db.connect() as conn:
            rows = (await conn.execute(statement.limit(limit))).mappings().all()
        return [_measurement(row["measurement"], {name: row[name] for name in _COLUMNS}) for row in rows]

    async def unmeasured(self, device: str, base_models: Sequence[str]) -> Sequence[str]:
        statement = (
            select(measurements.c.base_model)
            .where(measurements.c.device == device, measurements.c.base_model.in_(base_models))
            .distinct()
        )
        async with self._db.connect() as conn:
            known = set((await conn.scalars(statement)).all())
        return [name for name in base_models if name not in known]

    async def present(self, base_model: str, since: datetime) -> Sequence[PresentDevice]:
        busy = select(jobs.c.lease_worker).where(jobs.c.lease_token.is_not(None))
        there = or_(workers.c.seen_at >= since, workers.c.worker_id.in_(busy))
        async with self._db.connect() as conn:
            rows = (await conn.execute(select(workers).where(there))).mappings().all()
        return [
            PresentDevice(row["device"], row["device_memory_bytes"], tuple(row["mixed_precisions"]))
            for row in rows
            if not row["base_models"] or base_model in row["base_models"]
        ]


def _measurement(stored: Mapping[str, Any], own: Mapping[str, Any]) -> Measurement:
    """A field of another version is left out; one that is missing has its default."""
    known = {field.name for field in fields(Measurement)}
    parts = {name: Part(Counted(**part["work"]), part["seconds"]) for name, part in stored["parts"].items()}
    values = {name: value for name, value in stored.items() if name in known}
    return Measurement(**{**values, **own, "parts": parts})
