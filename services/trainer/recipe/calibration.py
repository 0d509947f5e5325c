"""From what runs took to what a job will take: each part of a job has a pace, measured on devices that did such work.

A pace is the measured time of a part over the time that a plain description of the device (`DeviceClass`) gives it.
That description is rough, and the paces correct it; it only has to say how FLOPs, bytes and launches weigh against each
other when a job differs from those that were measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.trainer.recipe.costs import VERSION, Counted, JobCost
from services.trainer.recipe.workload import WORTH_A_HELPER

SAME_MODEL = "runs of this base model"
OTHER_MODEL = "runs of another base model"
FINISHED_JOBS = "finished jobs"

LEAST_SPREAD = 0.10
"""Log of the factor that two runs of the same job differ by, at least: other load, clocks, temperature."""
SPREAD_OF_ONE = 0.35
SPREAD_OF_OTHER = 0.7
MEMORY_SPREAD = {True: 0.2, False: 0.08}
"""By whether memory is a CPU's: its libraries take workspaces and keep what they freed, which nobody counts."""


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """A rough device. flops, moved: a second. launch_s: of a kernel. overlaps: it computes while the host launches."""

    flops: float
    moved: float
    launch_s: float
    overlaps: bool

    def seconds(self, work: Counted) -> float:
        """Time that it would take for some work."""
        computing = work.flops / self.flops + work.moved / self.moved
        launching = work.kernels * self.launch_s
        return max(computing, launching) if self.overlaps else computing + launching


CPU = DeviceClass(flops=6e10, moved=1.2e10, launch_s=1.5e-5, overlaps=False)
ACCELERATOR = {
    "no": DeviceClass(flops=4e13, moved=2e12, launch_s=8e-6, overlaps=True),
    "bf16": DeviceClass(flops=4e14, moved=2e12, launch_s=8e-6, overlaps=True),
    "fp16": DeviceClass(flops=4e14, moved=2e12, launch_s=8e-6, overlaps=True),
}


def device_class(device: str, mixed_precision: str) -> DeviceClass:
    """The description of a device by the name that its worker gives it."""
    return CPU if is_cpu(device) else ACCELERATOR[mixed_precision]


def likely_processes(device: str, samples: float) -> int:
    """Processes that a worker will start for a job, by the engine's rule: two on a CPU that has as many threads."""
    threads = device.split()[1:2]
    several = is_cpu(device) and threads and threads[0].isdigit() and int(threads[0]) > 1
    return 2 if several and samples >= WORTH_A_HELPER else 1


def is_cpu(device: str) -> bool:
    """Whether a worker of this name computes in main memory."""
    return device == "cpu" or device.startswith("cpu ")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a run: what was done and how long it took, in seconds of one run."""

    work: Counted
    seconds: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a run of a worker took.

    Attributes:
        parts: by name, see `costs.JobCost.work`.
        start_seconds: of loading the base model and all else before the first step that is not a part.
        epoch_end_seconds: mean of what an epoch's end takes beside its parts: files, loading them back, checkpoint.
        epochs: ends of epochs that were measured; 0 when there was none.
        baseline_bytes: memory in use before the run. peak_bytes: the most in use during it.
        memory_bytes: what the cost model says for this run. weight_bytes: its part of the frozen base.
        predict_kernels: launches of one prediction, a measure of how many layers there are.
    """

    device: str
    base_model: str
    mixed_precision: str
    batch_size: int
    processes: int
    parts: Mapping[str, Part]
    start_seconds: float
    epoch_end_seconds: float
    epochs: int
    baseline_bytes: int
    peak_bytes: int
    memory_bytes: float
    weight_bytes: float
    measured_at: datetime
    probe: bool = False
    cost_version: int = VERSION


@dataclass(frozen=True, slots=True)
class Range:
    """A number with its uncertainty: in about nine of ten cases the truth lies between low and high."""

    middle: float
    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        """Errors of the parts of one job go the same way, so they add up."""
        return Range(self.middle + other.middle, self.low + other.low, self.high + other.high)

    def times(self, count: float) -> Range:
        """So many of it."""
        return Range(self.middle * count, self.low * count, self.high * count)


NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Seconds of a job. start: before the first step. training: its steps. epoch_ends: previews, evaluation, files."""

    start: Range
    training: Range
    epoch_ends: Range
    basis: str
    runs: int

    @property
    def total(self) -> Range:
        return self.start + self.training + self.epoch_ends


def estimate_time(
    cost: JobCost,
    measurements: Sequence[Measurement],
    *,
    device: str,
    base_model: str,
    mixed_precision: str,
    processes: int = 1,
) -> TimeEstimate | None:
    """Time of a job on a device from what was measured there; None when nothing was that could say something.

    processes: that will share each batch of the job.
    """
    usable = [one for one in measurements if one.device == device and one.cost_version == VERSION and one.parts]
    own = [one for one in usable if one.base_model == base_model]
    chosen = own or usable
    if not chosen:
        return None
    same = [one for one in chosen if one.mixed_precision == mixed_precision]
    shared = [one for one in same if one.processes == processes]
    alike = shared or same or chosen
    least = SPREAD_OF_OTHER if not own or not same else LEAST_SPREAD if shared else SPREAD_OF_ONE
    described = device_class(device, mixed_precision)

    def part(name: str, work: Counted) -> Range:
        pace = _pace(name, work, alike, least)
        return NOTHING if pace is None else pace.times(described.seconds(work))

    before = cost.before
    start = _whole([one.start_seconds * _larger(one, cost, own) for one in alike], least)
    for name, work in before.items():
        start = start + part(name, work)
    ends = [one.epoch_end_seconds for one in alike if one.epochs]
    at_end = _whole(ends, least) if ends else NOTHING
    for name, work in cost.of_epoch.items():
        if name != "training":
            at_end = at_end + part(name, work)
    training = part("training", cost.of_epoch["training"])
    return TimeEstimate(
        start, training.times(cost.epochs), at_end.times(cost.epochs), SAME_MODEL if own else OTHER_MODEL, len(chosen)
    )


def _pace(name: str, work: Counted, runs: Sequence[Measurement], least: float) -> Range | None:
    """Measured over described time of a part: mean of the logarithms, runs of a similar mixture of work first."""
    logs, weights = [], []
    for run in runs:
        done = run.parts.get(name)
        if done is None or done.seconds <= 0.0:
            continue
        expected = device_class(run.device, run.mixed_precision).seconds(done.work)
        if expected <= 0.0:
            continue
        if name == "encoding" and done.seconds < FROM_CACHE * expected * _slowest(name, runs):
            # Its pictures had been encoded by an earlier job, which says nothing of the next one's.
            continue
        logs.append(math.log(done.seconds / expected))
        weights.append(1.0 / (0.05 + _distance(done.work, work) ** 2))
    if not logs:
        return None
    mean = sum(log * weight for log, weight in zip(logs, weights, strict=True)) / sum(weights)
    return _around(math.exp(mean), _spread(logs, least))


FROM_CACHE = 0.3


def _slowest(name: str, runs: Sequence[Measurement]) -> float:
    """The largest pace of a part."""
    paces = [0.0]
    for run in runs:
        done = run.parts.get(name)
        expected = device_class(run.device, run.mixed_precision).seconds(done.work) if done else 0.0
        if done is not None and expected > 0.0:
            paces.append(done.seconds / expected)
    return max(paces)


def _distance(one: Counted, other: Counted) -> float:
    """How differently FLOPs, bytes and launches are mixed: a small batch is mostly launches."""
    if not (one.flops and other.flops and one.kernels and other.kernels):
        return 1.0
    launches = math.log((one.kernels / one.flops) / (other.kernels / other.flops))
    moved = math.log((one.moved / one.flops) / (other.moved / other.flops))
    return math.hypot(launches, moved)


def _whole(values: Sequence[float], least: float) -> Range:
    """A time that does not depend on the job: the median of what was measured."""
    positive = [value for value in values if value > 0.0]
    if not positive:
        return NOTHING
    logs = [math.log(value) for value in positive]
    return _around(statistics.median(positive), _spread(logs, least))


def _spread(logs: Sequence[float], least: float) -> float:
    """Half the width of the range in logarithms; never less than runs like these deserve."""
    if len(logs) == 1:
        return max(least, SPREAD_OF_ONE)
    return max(least, 1.6 * statistics.stdev(logs) * math.sqrt(1.0 + 1.0 / len(logs)))


def _around(middle: float, spread: float) -> Range:
    return Range(middle, middle * math.exp(-spread), middle * math.exp(spread))


def _larger(run: Measurement, cost: JobCost, own: Sequence[Measurement]) -> float:
    """Another base model starts as much slower as it has more to load."""
    return 1.0 if own or not run.weight_bytes else cost.weight_bytes / run.weight_bytes


def estimate_memory(
    cost: JobCost, measurements: Sequence[Measurement], *, device: str, base_model: str
) -> tuple[Range, int]:
    """Peak bytes on a device, and how many runs it rests on.

    What runs there held beside what is counted is added, and what varies between them widens the range.
    """
    runs = [
        one
        for one in measurements
        if one.device == device and one.cost_version == VERSION and one.peak_bytes > 0 and one.memory_bytes > 0
    ]
    own = [one for one in runs if one.base_model == base_model]
    chosen = own or runs
    slack = SLACK_CPU if is_cpu(device) else SLACK_ACCELERATOR
    counted = slack * cost.memory_bytes
    if not chosen:
        middle = counted + (CPU_PROCESS_BYTES if is_cpu(device) else 0)
        return Range(middle, middle * 0.85, middle * 1.25), 0
    # What a run holds beside what is counted: the process and its libraries on a CPU, workspaces on an accelerator.
    beside = [max(0.0, one.peak_bytes - slack * one.memory_bytes) for one in chosen]
    nearness = [1.0 / (0.05 + math.log(one.memory_bytes / cost.memory_bytes) ** 2) for one in chosen]
    around = sum(one * weight for one, weight in zip(beside, nearness, strict=True)) / sum(nearness)
    middle = around + counted
    varies = 1.6 * statistics.stdev(beside) if len(beside) > 1 else 0.15 * middle
    width = max(varies, MEMORY_SPREAD[is_cpu(device)] * middle) * (1.0 if own else 2.0)
    return Range(middle, max(counted, middle - width), middle + width), len(own)


SLACK_CPU, SLACK_ACCELERATOR = 1.2, 1.05
"""What an allocator takes over what it was asked for: pieces that are rounded up, and holes between them."""

CPU_PROCESS_BYTES = 600 << 20
"""A worker with torch and its libraries loaded, before it has measured itself."""
