"""What the metrics tell of a worker: what it does with its time, what it trained, and how its GPUs are.

Share of time in training, over an hour:

    sum(rate(fiveshot_worker_seconds_total{part="training"}[1h])) / sum(rate(fiveshot_worker_seconds_total[1h]))
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.chassis import telemetry
from services.chassis.logging import get_logger

log = get_logger(__name__)

STATES = ("idle", "busy", "probing")
STATE = telemetry.gauge("fiveshot_worker_state", "1 for what the worker does now, 0 for the rest.", ("state",))
SECONDS = telemetry.counter(
    "fiveshot_worker_seconds_total", "Seconds of the worker by what they went into; probes count as idle.", ("part",)
)
STEPS = telemetry.counter("fiveshot_worker_steps_total", "Optimizer steps trained, probes apart.", ("base_model",))
IMAGES = telemetry.counter("fiveshot_worker_images_total", "Pictures trained on, probes apart.", ("base_model",))
ATTEMPTS = telemetry.counter("fiveshot_worker_attempts_total", "Attempts that ended here, by outcome.", ("outcome",))


def state(now: str) -> None:
    """Tells what the worker does from now on; one of `STATES`."""
    for each in STATES:
        STATE.labels(each).set(each == now)


def spent(part: str, seconds: float) -> None:
    """Counts time. part: of a run, as `measuring.RunClock` divides it, or idle, downloading, storing."""
    SECONDS.labels(part.replace(" ", "_")).inc(max(0.0, seconds))


@contextmanager
def spending(part: str) -> Iterator[None]:
    """Counts the time of the block, however it ends."""
    started = time.monotonic()
    try:
        yield
    finally:
        spent(part, time.monotonic() - started)


class GpuCollector(Collector):
    """The GPUs of this machine as NVIDIA's management library sees them, read when the metrics are.

    nvml: the module `pynvml` (https://pypi.org/project/nvidia-ml-py), initialised. A value that a card does not have is
    left out. Labels are the number of the GPU and its name.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families of all GPUs."""
        labels = ("gpu", "name")
        used = GaugeMetricFamily("fiveshot_gpu_memory_used_bytes", "Memory in use.", labels=labels)
        size = GaugeMetricFamily("fiveshot_gpu_memory_size_bytes", "Memory of the card.", labels=labels)
        busy = GaugeMetricFamily("fiveshot_gpu_utilisation_ratio", "Share of time at work, 0 to 1.", labels=labels)
        heat = GaugeMetricFamily("fiveshot_gpu_temperature_celsius", "Temperature of the chip.", labels=labels)
        power = GaugeMetricFamily("fiveshot_gpu_power_watts", "Power drawn.", labels=labels)
        nvml = self._nvml
        with suppress(nvml.NVMLError):
            for number in range(nvml.nvmlDeviceGetCount()):
                card = nvml.nvmlDeviceGetHandleByIndex(number)
                name = nvml.nvmlDeviceGetName(card)
                which: Sequence[str] = (str(number), name.decode() if isinstance(name, bytes) else name)
                with suppress(nvml.NVMLError):
                    memory = nvml.nvmlDeviceGetMemoryInfo(card)
                    used.add_metric(which, memory.used)
                    size.add_metric(which, memory.total)
                with suppress(nvml.NVMLError):
                    busy.add_metric(which, nvml.nvmlDeviceGetUtilizationRates(card).gpu / 100)
                with suppress(nvml.NVMLError):
                    heat.add_metric(which, nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU))
                with suppress(nvml.NVMLError):
                    power.add_metric(which, nvml.nvmlDeviceGetPowerUsage(card) / 1000)
        yield from (used, size, busy, heat, power)


def watch_gpus() -> bool:
    """Adds the GPUs to the metrics of this process; False where there is no NVIDIA driver, or not its library."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:  # the library's own, or what loading a driver raises
        log.info("no_gpu_metrics", reason=type(error).__name__)
        return False
    REGISTRY.register(GpuCollector(pynvml))
    return True
