"""What runs took: workers report it, and ask what is still to be measured."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from services.chassis.errors import InvalidArgument
from services.trainer.ports import Measurements
from services.trainer.recipe.calibration import Measurement
from services.trainer.recipe.costs import VERSION


class Measuring:
    """Keeps measurements. base_models: of the catalogue that were counted, since only of those a run says anything."""

    def __init__(self, measurements: Measurements, base_models: Collection[str]) -> None:
        self._measurements = measurements
        self._base_models = frozenset(base_models)

    async def add(self, measurement: Measurement) -> None:
        """Keeps a run. One of another version of the cost model, or of a model that is gone, is dropped.

        Raises InvalidArgument for numbers that no run can have.
        """
        numbers = [measurement.start_seconds, measurement.epoch_end_seconds, measurement.memory_bytes]
        for part in measurement.parts.values():
            numbers += [part.seconds, part.work.flops, part.work.moved, part.work.kernels]
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise InvalidArgument(
                "A measured number is not finite", field="measurement", remedy="Report what the clock showed."
            )
        if measurement.cost_version == VERSION and measurement.base_model in self._base_models:
            await self._measurements.add(measurement)

    async def unmeasured(self, device: str, base_models: Sequence[str]) -> Sequence[str]:
        """Of some base models those that a worker should probe when it has nothing to do."""
        wanted = [name for name in base_models if name in self._base_models]
        return await self._measurements.unmeasured(device, wanted) if wanted and device else ()
