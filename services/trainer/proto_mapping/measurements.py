"""Measured runs, as workers report them."""

from __future__ import annotations

from datetime import datetime

from fiveshot.trainer.v1 import worker_service_pb2

from services.trainer.recipe.calibration import Measurement, Part
from services.trainer.recipe.costs import Counted

_Measurement = worker_service_pb2.Measurement
_SAME = (
    "device",
    "base_model",
    "mixed_precision",
    "batch_size",
    "processes",
    "start_seconds",
    "epoch_end_seconds",
    "epochs",
    "baseline_bytes",
    "peak_bytes",
    "memory_bytes",
    "weight_bytes",
    "probe",
    "cost_version",
)
"""Fields that are spelt alike."""


def measurement_from_proto(message: _Measurement, now: datetime) -> Measurement:
    """What the trainer keeps."""
    parts = {
        part.name: Part(Counted(part.flops, part.moved_bytes, part.kernels), part.seconds) for part in message.parts
    }
    return Measurement(parts=parts, measured_at=now, **{name: getattr(message, name) for name in _SAME})
