"""How many blocks of a base model are streamed from host memory, so that a job fits into its device. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.trainer.recipe.calibration import Range, estimate_memory, is_cpu
from services.trainer.recipe.costs import JobCost, ModelCosts
from services.trainer.recipe.families.facts import FamilyFacts
from services.trainer.recipe.parameters import TrainingParameters

WINDOW = 2
"""Streamed blocks that are on the device at once: the one that computes, and the next."""


_MOVED_BYTES = {"int8": 1.0, "nf4": 0.5}
"""Bytes of a quantised weight that come and go; its scales stay on the device."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """A job that fits by streaming.

    Attributes:
        streamed, total: blocks that come and go, and all blocks.
        freed_bytes: of the device, by it.
    """

    streamed: int
    total: int
    freed_bytes: float

    def less(self, memory: Range) -> Range:
        """What is left of an estimate that knows no streaming, as uncertain for its size as that was."""
        share = max(0.0, 1.0 - self.freed_bytes / memory.middle)
        return Range(share * memory.middle, share * memory.low, share * memory.high)

    @property
    def sentence(self) -> str:
        """What a user is told."""
        return (
            f"{self.total - self.streamed} of the base model's {self.total} blocks stay on the device, the others come "
            "from the worker's memory one ahead of their turn: the files are the same, steps take longer."
        )


def is_streamed(place: int, streamed: int, total: int) -> bool:
    """Whether the block at a place is one of those that are streamed, which are spread evenly over all.

    The more resident blocks compute between two of them, the more time the next one has to arrive.
    """
    return place * streamed // total != (place + 1) * streamed // total


def why_not(facts: FamilyFacts, parameters: TrainingParameters) -> str:
    """Why a job's blocks cannot be streamed, the end of a sentence that begins with "the job"; "" when they can."""
    if not facts.denoiser.blocks:
        return f"has a base model of {facts.title}, whose blocks are not alike"
    if not parameters.gradient_checkpointing:
        return "has no gradient_checkpointing, without which a backward pass holds all weights"
    if parameters.base_quantization != "none" and parameters.adapter == "dora":
        return "trains dora on a quantised base, whose weights its first scales are made of"
    return ""


def all_stay(facts: FamilyFacts, parameters: TrainingParameters) -> str:
    """What a user is told of a job that does not fit and cannot be streamed; "" of one that can."""
    reason = why_not(facts, parameters)
    return f"All blocks of the base model stay on the device: the job {reason}." if reason else ""


def freed(costs: ModelCosts, parameters: TrainingParameters, streamed: int) -> Streaming:
    """What streaming so many blocks frees. ``costs`` have blocks."""
    total = costs.weights["blocks"]
    whole = 4.0 if parameters.mixed_precision == "no" else 2.0
    size = _MOVED_BYTES.get(parameters.base_quantization, whole) * costs.weights["denoiser_blocks"] / total
    return Streaming(streamed, total, size * max(0, streamed - WINDOW))


def most(facts: FamilyFacts, costs: ModelCosts | None, parameters: TrainingParameters) -> Streaming | None:
    """Every block streamed; None where none can be."""
    if costs is None or not costs.weights.get("blocks") or why_not(facts, parameters):
        return None
    return freed(costs, parameters, costs.weights["blocks"])


def to_fit(
    facts: FamilyFacts, costs: ModelCosts | None, parameters: TrainingParameters, memory: Range, limit: float
) -> Streaming | None:
    """The fewest blocks with which a job stays within ``limit`` bytes; None where it does without, or never.

    Its upper end has to fit, if that can be had at all, else the middle.
    """
    whole = most(facts, costs, parameters)
    if whole is None or costs is None or memory.middle <= limit:
        return None
    if memory.middle - whole.freed_bytes > limit:
        return None
    over = min(memory.middle - limit * memory.middle / memory.high, whole.freed_bytes)
    one = whole.freed_bytes / max(1, whole.total - WINDOW)
    return freed(costs, parameters, min(whole.total, WINDOW + math.ceil(over / one)))


def for_worker(
    facts: FamilyFacts,
    costs: ModelCosts | None,
    parameters: TrainingParameters,
    cost: JobCost | None,
    *,
    device: str,
    usable: float,
) -> Streaming | None:
    """What a worker does by itself. A CPU has no other memory to stream from. usable: bytes of its device."""
    if cost is None or is_cpu(device) or usable <= 0:
        return None
    memory, _ = estimate_memory(cost, (), device=device, base_model="")
    return to_fit(facts, costs, parameters, memory, usable)
