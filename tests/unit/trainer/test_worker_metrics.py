"""What a worker's metrics say: its state, where its time goes, its GPUs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from services.trainer.worker import metrics
from services.trainer.worker.measuring import RunClock
from tests.fixtures.monitoring import ONLY_WITH_A_GPU, asked


class _Card:
    def __init__(self, name: str | bytes, *, warm: bool) -> None:
        self.name, self.warm = name, warm


class Nvml:
    """Two cards as the library shows them; the second one tells no temperature, as some do."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        """The library's error."""

    def __init__(self, cards: list[_Card] | None) -> None:
        self._cards = cards

    def nvmlDeviceGetCount(self) -> int:
        if self._cards is None:
            raise self.NVMLError
        return len(self._cards)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> _Card:
        assert self._cards is not None
        return self._cards[number]

    def nvmlDeviceGetName(self, card: _Card) -> str | bytes:
        return card.name

    def nvmlDeviceGetMemoryInfo(self, card: _Card) -> Any:
        return SimpleNamespace(used=20 << 30, total=80 << 30)

    def nvmlDeviceGetUtilizationRates(self, card: _Card) -> Any:
        return SimpleNamespace(gpu=75)

    def nvmlDeviceGetTemperature(self, card: _Card, which: int) -> int:
        if not card.warm:
            raise self.NVMLError
        return 61

    def nvmlDeviceGetPowerUsage(self, card: _Card) -> int:
        return 350_000


def test_each_gpu_is_told_and_what_it_lacks_is_left_out() -> None:
    registry = CollectorRegistry()
    registry.register(metrics.GpuCollector(Nvml([_Card("H100", warm=True), _Card(b"Old one", warm=False)])))

    def of(name: str, gpu: str, card: str) -> float | None:
        return registry.get_sample_value(f"fiveshot_gpu_{name}", {"gpu": gpu, "name": card})

    assert of("utilisation_ratio", "0", "H100") == 0.75
    assert of("memory_used_bytes", "0", "H100") == 20 << 30
    assert of("memory_size_bytes", "1", "Old one") == 80 << 30
    assert of("power_watts", "1", "Old one") == 350
    assert (of("temperature_celsius", "0", "H100"), of("temperature_celsius", "1", "Old one")) == (61, None)


def test_what_dashboards_and_alerts_ask_of_gpus_is_told() -> None:
    told = {family.name for family in metrics.GpuCollector(Nvml([])).collect()}
    assert {name for name in asked() if name.startswith(ONLY_WITH_A_GPU)} == told


def test_a_driver_that_goes_away_leaves_the_metrics_empty() -> None:
    registry = CollectorRegistry()
    registry.register(metrics.GpuCollector(Nvml(None)))
    assert [list(family.samples) for family in registry.collect()] == [[], [], [], [], []]


def test_one_state_at_a_time() -> None:
    for now in metrics.STATES:
        metrics.state(now)
        told = {each: REGISTRY.get_sample_value("fiveshot_worker_state", {"state": each}) for each in metrics.STATES}
        assert told == {each: float(each == now) for each in metrics.STATES}


def test_the_clock_of_a_run_tells_where_the_time_goes_and_each_step() -> None:
    moments, steps, spent = iter([0.0, 2.0, 5.0, 9.0]), 0, list[tuple[str, float]]()

    def step() -> None:
        nonlocal steps
        steps += 1

    clock = RunClock(lambda: next(moments), on_spent=lambda *given: spent.append(given), on_step=step)
    clock.step()
    clock.step()
    clock.epoch()
    assert spent == [("start", 2.0), ("training", 3.0), ("training", 4.0)]
    assert steps == 2
    assert sum(seconds for _, seconds in spent) == sum(clock.seconds.values())
