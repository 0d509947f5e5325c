"""Whether a job fits into memory, what to change when it does not, and whose time an estimate gives.

Estimates and the engine's own out-of-memory error advise by the same list of changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product

from services.trainer.recipe.calibration import (
    SAME_MODEL,
    Measurement,
    Range,
    TimeEstimate,
    estimate_memory,
    estimate_time,
    is_cpu,
    likely_processes,
)
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.costs import JobCost, job_cost
from services.trainer.recipe.families import families
from services.trainer.recipe.parameter_spec import InvalidParameter, ParameterSpec
from services.trainer.recipe.parameters import DEFAULT_SPECS, TrainingParameters
from services.trainer.recipe.plan import PictureSize, plan_job
from services.trainer.recipe.sharing import drawn_samples
from services.trainer.recipe.streaming import to_fit

MIB = 1 << 20
UNUSABLE = 0.06
"""Share of an accelerator's memory that its driver, fragments and other libraries take."""

SMALLER_RESOLUTIONS = (0.75, 0.5)
CATALOGUE_SPREAD = 1.5
"""What a catalogue states of memory is right within such a factor."""

A_MODEL, THE_CATALOGUE = "a model of the work", "the catalogue"
_ACCELERATOR = "accelerator"
"""A device of which nothing is known."""

Change = Mapping[str, object]
"""Other values of parameters, by name."""


class Fit(StrEnum):
    """Whether a job fits into the memory of a worker."""

    UNSPECIFIED = "UNSPECIFIED"
    YES = "YES"
    TIGHT = "TIGHT"
    NO = "NO"


@dataclass(frozen=True, slots=True)
class Offers:
    """What a job may be changed to.

    Attributes:
        specs: bounds of its base model's parameters; () for any value.
        least_side: pixels of the smallest picture that the base model takes.
        formats: number formats that workers compute in; () for all.
        quantizes: they load quantised base models.
    """

    specs: tuple[ParameterSpec, ...] = ()
    least_side: int = 1
    formats: tuple[str, ...] = ()
    quantizes: bool = True

    def takes(self, change: Change) -> bool:
        """Whether all of a change is offered."""
        by_name = {spec.name: spec for spec in self.specs}
        try:
            for name, value in change.items():
                if name in by_name:
                    by_name[name].check(value)
        except InvalidParameter:
            return False
        side = change.get("resolution", self.least_side)
        return (not isinstance(side, int) or side >= self.least_side) and (
            self.quantizes or "base_quantization" not in change
        )


def offers_of(model: BaseModel, formats: Sequence[str] = (), *, quantizes: bool = True) -> Offers:
    """What a base model takes on workers of such number formats."""
    return Offers(tuple(model.specs), model.pixel_multiple, tuple(formats), quantizes)


def cost_of(
    model: BaseModel,
    parameters: TrainingParameters,
    pictures: Sequence[PictureSize],
    *,
    own_regularization: int = 0,
) -> JobCost | None:
    """What a job costs; None for a base model that was not counted. Raises InvalidParameter as ``plan_job`` does."""
    if model.costs is None:
        return None
    plan = plan_job(pictures, parameters, model.pixel_multiple, own_regularization=own_regularization)
    return job_cost(model.costs, parameters, plan, neutral_prompts=len(model.neutral_prompts))


def choose_time(
    cost: JobCost | None,
    measured: Sequence[Measurement],
    devices: Sequence[str],
    *,
    base_model: str,
    parameters: TrainingParameters,
    pictures: Sequence[PictureSize],
) -> tuple[str, TimeEstimate | None]:
    """The device whose time to give: measured on this base model first, then the slowest, which nobody regrets.

    The name is "" where none of several can be told.
    """
    if cost is None:
        return "", None
    found: list[tuple[str, TimeEstimate]] = []
    samples = drawn_samples(pictures, parameters)
    for device in devices:
        timed = estimate_time(
            cost,
            measured,
            device=device,
            base_model=base_model,
            mixed_precision=parameters.mixed_precision,
            processes=likely_processes(device, samples),
        )
        if timed is not None:
            found.append((device, timed))
    if not found:
        return devices[0] if len(devices) == 1 else "", None
    return max(found, key=lambda one: (one[1].basis == SAME_MODEL, one[1].total.middle))


def choose_memory(
    model: BaseModel, cost: JobCost | None, measured: Sequence[Measurement], devices: Sequence[str], *, base_model: str
) -> tuple[Range, str]:
    """Peak bytes on the device that needs most, and what they rest on."""
    if cost is None:
        stated = float(model.memory_mib * MIB)
        return Range(stated, stated / CATALOGUE_SPREAD, stated * CATALOGUE_SPREAD), THE_CATALOGUE
    found = [
        estimate_memory(cost, measured, device=device, base_model=base_model) for device in devices or [_ACCELERATOR]
    ]
    memory, runs = max(found, key=lambda one: one[0].middle)
    return memory, SAME_MODEL if runs else A_MODEL


def usable_bytes(memory_bytes: int, devices: Sequence[str]) -> float:
    """What a job may take of a worker's memory. devices: names of those that there are, at least one."""
    return memory_bytes if all(is_cpu(device) for device in devices) else memory_bytes * (1.0 - UNUSABLE)


def fit_of(memory: Range, limit: float) -> Fit:
    """Whether so much memory stays within a limit in bytes."""
    if memory.middle > limit:
        return Fit.NO
    return Fit.TIGHT if memory.high > limit else Fit.YES


def remedy_of(
    model: BaseModel,
    parameters: TrainingParameters,
    pictures: Sequence[PictureSize],
    cost: JobCost | None,
    memory: Range,
    limit: float,
    *,
    formats: Sequence[str] = (),
    streams: bool = False,
) -> str:
    """The change that costs least and with which a job fits into ``limit`` bytes, or what is left to do.

    Args:
        memory: with every block on the device.
        formats: see `Offers`.
        streams: blocks that do not fit are streamed.
    """
    offers = offers_of(model, formats)
    if cost is None:
        return after_out_of_memory(parameters, offers)

    def needed(change: Change) -> float | None:
        less = _cost_with(change, model, parameters, pictures) if offers.takes(change) else None
        if less is None:
            return None
        # What the process and its allocator need stays as it is.
        saved = cost.memory_bytes - less.memory_bytes
        left = Range(*(max(1.0, bound - saved) for bound in (memory.middle, memory.low, memory.high)))
        changed = replace(parameters, **change)  # type: ignore[arg-type]
        streaming = to_fit(families()[model.family], model.costs, changed, left, limit) if streams else None
        return (streaming.less(left) if streaming else left).high

    change = what_fits(needed, smaller(parameters, formats), limit)
    if change is None:
        return "Nothing that keeps the training makes it fit; use a worker with more memory or a smaller base model."
    return f"Use {in_words(change)}."


def after_out_of_memory(parameters: TrainingParameters, offers: Offers = Offers(), *, batches: bool = True) -> str:
    """What to change when the device's memory ran out: the first of each kind of change, the cheapest first.

    batches: smaller ones would help; a run that computes its batches in parts has come down to single pictures.
    """
    kinds = [[change for change in kind if offers.takes(change)] for kind in _kinds(parameters, offers.formats)]
    changes = [in_words(kind[0]) for kind in kinds if kind and (batches or "batch_size" not in kind[0])]
    if not changes:
        return "Use a worker with more memory or a smaller base model."
    return f"Use one of these: {'; '.join(changes)}."


def smaller(parameters: TrainingParameters, formats: Sequence[str] = ()) -> Iterator[Change]:
    """Changes that need less memory, alone and together, the one that costs least first. formats: see `Offers`."""
    # The last factor of a product varies fastest, and the cheapest kind should.
    for parts in product(*([{}, *kind] for kind in reversed(_kinds(parameters, formats)))):
        change = {name: value for part in reversed(parts) for name, value in part.items()}
        if change:
            yield change


def what_fits(memory_of: Callable[[Change], float | None], changes: Iterator[Change], limit: float) -> Change | None:
    """The first change with which a job needs at most ``limit`` bytes. memory_of: None for one that is not offered."""
    for change in changes:
        memory = memory_of(change)
        if memory is not None and memory <= limit:
            return change
    return None


def in_words(change: Change) -> str:
    """Names and values as a caller sets them."""
    return " and ".join(
        f"{name} {str(value).lower() if isinstance(value, bool) else value}" for name, value in change.items()
    )


def _kinds(parameters: TrainingParameters, formats: Sequence[str] = ()) -> list[list[Change]]:
    """Changes of each kind, the mildest first; kinds ordered by what they cost: time, then likeness, then detail."""
    batch, accumulation = parameters.batch_size, parameters.gradient_accumulation_steps
    # Divisors alone, so that a step has as many samples as before.
    batches: list[Change] = [
        {"batch_size": smaller, "gradient_accumulation_steps": accumulation * batch // smaller}
        for smaller in range(batch // 2, 0, -1)
        if batch % smaller == 0
    ]
    half = next((each for each in ("bf16", "fp16") if not formats or each in formats), "")
    precision: list[Change] = [{"mixed_precision": half}] if half and parameters.mixed_precision == "no" else []
    checkpointing: list[Change] = [] if parameters.gradient_checkpointing else [{"gradient_checkpointing": True}]
    quantizable = parameters.base_quantization != "nf4" and parameters.adapter not in ("loha", "lokr")
    quantization: list[Change] = [{"base_quantization": "nf4"}] if quantizable else []
    sides = [int(parameters.resolution * share) for share in SMALLER_RESOLUTIONS]
    resolution: list[Change] = [{"resolution": side} for side in sides if side >= _LEAST_SIDE]
    return [batches, precision, checkpointing, quantization, resolution]


_LEAST_SIDE = next(spec.minimum or 1 for spec in DEFAULT_SPECS if spec.name == "resolution")


def _cost_with(
    change: Change, model: BaseModel, parameters: TrainingParameters, pictures: Sequence[PictureSize]
) -> JobCost | None:
    """What the job costs with other parameters; None when no picture fits then."""
    try:
        return cost_of(model, replace(parameters, **change), pictures)  # type: ignore[arg-type]
    except InvalidParameter:
        return None
