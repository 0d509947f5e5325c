"""Measured runs in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from services.trainer.ports import MEASUREMENTS_KEPT, PresentDevice
from services.trainer.recipe.calibration import Measurement


class FakeMeasurements:
    """Implements `ports.Measurements`. devices: what `present` answers for every base model."""

    def __init__(self, *devices: PresentDevice) -> None:
        self.devices = devices
        self._kept: list[Measurement] = []

    async def add(self, measurement: Measurement) -> None:
        self._kept.append(measurement)
        alike = [one for one in self._newest() if _kind(one) == _kind(measurement)]
        for old in alike[MEASUREMENTS_KEPT:]:
            self._kept.remove(old)

    async def read(self, devices: Collection[str] | None, limit: int) -> Sequence[Measurement]:
        return [one for one in self._newest() if devices is None or one.device in devices][:limit]

    async def unmeasured(self, device: str, base_models: Sequence[str]) -> Sequence[str]:
        known = {one.base_model for one in self._kept if one.device == device}
        return [name for name in base_models if name not in known]

    async def present(self, base_model: str, since: datetime) -> Sequence[PresentDevice]:
        return self.devices

    def _newest(self) -> list[Measurement]:
        numbered = sorted(enumerate(self._kept), key=lambda one: (one[1].measured_at, one[0]), reverse=True)
        return [one for _, one in numbered]


def _kind(measurement: Measurement) -> tuple[str, str]:
    return measurement.device, measurement.base_model
