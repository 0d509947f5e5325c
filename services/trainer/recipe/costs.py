"""What a job costs in FLOPs, bytes and kernels, and how much memory it holds: from its model, its plan, its parameters.

Pure: the numbers of each architecture were counted on its real modules by ``python -m tools.model_costs`` and lie in
``model_costs.json``; here they are only added up. How fast a device does such work is measured, see
``calibration``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import JobPlan, regularization_share
from services.trainer.recipe.workload import (
    ENCODE_BATCH,
    EVALUATION_BATCH,
    MOVED_PICTURES,
    MOVED_VIEWS,
    NEUTRAL_STEPS,
    EvaluationSamples,
    evaluation_samples,
    preview_count,
)

COSTS_FILE = Path(__file__).with_name("model_costs.json")
VERSION = 2
"""Counts up when the same job comes to other numbers: measurements of another version do not compare."""

STATE_BYTES = {"adamw": 8, "adamw8bit": 2, "adafactor": 1, "prodigy": 16, "lion": 4, "schedule_free": 8}
"""Bytes that an optimizer keeps for each trained weight."""

QUANTIZED_BYTES = {"int8": 1.0, "nf4": 0.53}
"""Bytes of a weight of the denoiser's linear layers; NF4 keeps a scale for each block beside its half byte."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Work. flops: 2 a multiply-add. moved: bytes that kernels read and write. kernels: launches. peak: bytes alive."""

    flops: float = 0.0
    moved: float = 0.0
    kernels: float = 0.0
    peak: float = 0.0

    def __add__(self, other: Counted) -> Counted:
        """One after the other: the larger peak counts."""
        return Counted(
            self.flops + other.flops,
            self.moved + other.moved,
            self.kernels + other.kernels,
            max(self.peak, other.peak),
        )

    def times(self, count: float) -> Counted:
        """The same work so many times."""
        return Counted(self.flops * count, self.moved * count, self.kernels * count, self.peak)


@dataclass(frozen=True, slots=True)
class ModelCosts:
    """The counts of one architecture, as ``tools.model_costs`` writes them.

    A count is a polynomial: ``fixed + batch · (sample + area · A + square · A²) + rank · batch · A · rank_area``, with
    the area A of a picture in units of the model's own square. ``side``: pixels of that square. ``weights``: by part;
    ``denoiser_blocks`` are those in the ``blocks`` that can be streamed.
    """

    side: int
    weights: Mapping[str, int]
    regularization_pictures: int
    tables: Mapping[str, Any]

    def train(self, parameters: TrainingParameters, area: float, batch: int) -> Counted:
        """Forward and backward pass of the denoiser with its adapter."""
        preset = self.tables["train"][parameters.target_modules][_half(parameters)]
        terms = preset["checkpointing" if parameters.gradient_checkpointing else "plain"]
        counted = _value(terms, area, batch, parameters.rank)
        form = self.tables["adapters"].get(parameters.adapter, {}).get(parameters.target_modules)
        if form is None:
            return counted
        extra = Counted(*form)
        return Counted(
            counted.flops + extra.flops,
            counted.moved + extra.moved,
            counted.kernels + extra.kernels,
            counted.peak + extra.peak,
        )

    def text_train(self, parameters: TrainingParameters, captions: int) -> Counted:
        """Forward and backward of the text encoders; ``peak`` stays alive through the denoiser's pass."""
        terms = self.tables["text_train"][parameters.target_modules][_half(parameters)]
        return _value(terms, 1.0, captions, parameters.rank)

    def predict(self, parameters: TrainingParameters, area: float, batch: int, *, adapted: bool) -> Counted:
        """A prediction of the denoiser, with the adapter or bare."""
        counted = _value(self.tables["predict"][_half(parameters)], area, batch, 0)
        if not adapted:
            return counted
        flops, moved, kernels = self.tables["predict_adapted"][parameters.target_modules][_half(parameters)]
        return Counted(counted.flops * flops, counted.moved * moved, counted.kernels * kernels, counted.peak * moved)

    def encode(self, area: float, batch: int) -> Counted:
        """The autoencoder's posterior of pictures."""
        return _value(self.tables["encode"], area, batch, 0)

    def decode(self, area: float, batch: int) -> Counted:
        """Pictures of latents."""
        return _value(self.tables["decode"], area, batch, 0)

    def trained_weights(self, parameters: TrainingParameters) -> int:
        """Weights of the adapter."""
        per_rank = self.tables["trained"][parameters.target_modules]
        parts = ("denoiser", "text") if parameters.train_text_encoder else ("denoiser",)
        count = int(sum(per_rank[part] for part in parts)) * parameters.rank
        # LoHa has two pairs of matrices for LoRA's one; LoKr fewer than LoRA, by how much depends on its factors.
        return count * 2 if parameters.adapter == "loha" else count

    def released_bytes(self, parameters: TrainingParameters) -> int:
        """Text encoders that leave the device once all texts are encoded: where none is ever trained and texts stay."""
        released = self.tables.get("text_stays_frozen", False) and not parameters.shuffle_caption
        return _weight_size(parameters) * self.weights["text"] if released else 0

    def weight_bytes(self, parameters: TrainingParameters) -> int:
        """The frozen base on the device; the autoencoder is in float32 always."""
        size = _weight_size(parameters)
        layers = self.weights["denoiser_linear"]
        quantized = round(QUANTIZED_BYTES.get(parameters.base_quantization, size) * layers)
        rest = self.weights["denoiser"] - layers + self.weights["text"]
        return quantized + size * rest + 4 * self.weights["autoencoder"]


@dataclass(frozen=True, slots=True)
class JobCost:
    """The parts of a job. training: all of its passes. sampling and evaluation: also those before the first step.

    Attributes:
        work: by part: ``training``, ``sampling``, ``evaluation``, ``encoding``.
        of_epoch: what one epoch has of each part; ``before``: what comes before the first step.
        memory_bytes: of weights, adapter, optimizer and the largest part; without the process around them.
    """

    before: Mapping[str, Counted]
    of_epoch: Mapping[str, Counted]
    epochs: int
    memory_bytes: float
    largest: str
    weight_bytes: float

    @property
    def work(self) -> dict[str, Counted]:
        return self.done(self.epochs)

    def done(self, epochs: float, *, trained: float | None = None) -> dict[str, Counted]:
        """The work of so many epochs; trained: of training only, which may stop in the middle of one."""
        names = self.before.keys() | self.of_epoch.keys()
        counts = {name: epochs if trained is None or name != "training" else trained for name in names}
        nothing = Counted()
        return {
            name: self.before.get(name, nothing) + self.of_epoch.get(name, nothing).times(counts[name])
            for name in sorted(names)
        }


@cache
def read_costs(path: Path = COSTS_FILE) -> Mapping[str, ModelCosts]:
    """The counted architectures of a file by name. OSError, ValueError or KeyError for a file that is none."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: ModelCosts(entry["side"], entry["weights"], entry["regularization_pictures"], entry)
        for name, entry in document.items()
    }


def job_cost(
    costs: ModelCosts,
    parameters: TrainingParameters,
    plan: JobPlan,
    *,
    neutral_prompts: int,
    base_previews: bool = True,
) -> JobCost:
    """Everything that a job does on its device, for an adapter that starts fresh."""
    square = (parameters.resolution / costs.side) ** 2
    areas = [bucket.width * bucket.height / costs.side**2 for bucket in plan.buckets]
    trained = costs.trained_weights(parameters)
    optimizing = _optimizer_step(trained).times(plan.steps.steps_per_epoch)
    training = _passes(costs, parameters, plan, areas) + optimizing
    round_of_previews = _previews(costs, parameters, square)
    pictures = [len(bucket.items) for bucket in plan.buckets]
    samples = evaluation_samples(parameters, plan.steps.samples_per_epoch, held_out=bool(plan.held_out))
    evaluation = _evaluation(costs, parameters, areas, pictures, neutral_prompts, samples)
    encoding = _encoding(costs, parameters, areas, pictures, plan.own_regularization)
    moved = costs.encode(areas[0], MOVED_VIEWS).times(min(MOVED_PICTURES, sum(pictures)) if samples.moved else 0)
    neutral = costs.predict(parameters, square, 2 * max(1, neutral_prompts), adapted=False)
    sampling = neutral.times(NEUTRAL_STEPS if neutral_prompts else 0)
    if base_previews:
        sampling = sampling + round_of_previews
    released = costs.released_bytes(parameters)
    base = costs.weight_bytes(parameters) - released
    adapter = trained * (4 + STATE_BYTES[parameters.optimizer] + (4 if parameters.ema_decay else 0))
    peaks = {
        "training": adapter + training.peak,
        "sampling": adapter + max(round_of_previews.peak, sampling.peak),
        "encoding": released + encoding.peak,
    }
    largest = max(peaks, key=lambda name: peaks[name])
    return JobCost(
        before={"sampling": sampling, "evaluation": evaluation + moved, "encoding": encoding},
        of_epoch={"training": training, "sampling": round_of_previews, "evaluation": evaluation},
        epochs=parameters.num_epochs,
        memory_bytes=base + peaks[largest],
        largest=largest,
        weight_bytes=base,
    )


def _passes(costs: ModelCosts, parameters: TrainingParameters, plan: JobPlan, areas: Sequence[float]) -> Counted:
    """The forward and backward passes of an epoch, the small last batch of each bucket as it is."""
    total = Counted()
    for bucket, area in zip(plan.buckets, areas, strict=True):
        full, rest = divmod(bucket.size, parameters.batch_size)
        for batch, count in ((parameters.batch_size, full), (rest, 1 if rest else 0)):
            extra = regularization_share(parameters.regularization_fraction, batch)
            # Of a share that is no whole number, some passes have one picture more than the others.
            for samples, part in ((math.floor(extra), 1 - extra % 1), (math.ceil(extra), extra % 1)):
                if count and part:
                    total = total + _pass(costs, parameters, area, batch + samples).times(count * float(part))
    return total


def _pass(costs: ModelCosts, parameters: TrainingParameters, area: float, samples: int) -> Counted:
    learning = _learning(costs, parameters, area, samples)
    if parameters.preservation_weight == 0.0:
        return learning
    # The base model's prediction, and a second pass that is held to it, once the first has let go of its memory.
    return learning + costs.predict(parameters, area, samples, adapted=False) + learning


def _learning(costs: ModelCosts, parameters: TrainingParameters, area: float, samples: int) -> Counted:
    denoiser = costs.train(parameters, area, samples)
    if not parameters.train_text_encoder:
        return denoiser
    text = costs.text_train(parameters, samples)
    both = denoiser + text
    return Counted(both.flops, both.moved, both.kernels, denoiser.peak + text.peak)


def _optimizer_step(weights: int) -> Counted:
    """Clipping and a fused AdamW: a few reads and writes of weight, gradient and two moments, a few kernels."""
    return Counted(20.0 * weights, 44.0 * weights, 10.0)


def _previews(costs: ModelCosts, parameters: TrainingParameters, area: float) -> Counted:
    guided = 2 if parameters.preview_guidance > 1.0 and not costs.tables["guidance_is_an_input"] else 1
    count = preview_count(parameters)
    steps = costs.predict(parameters, area, count * guided, adapted=True).times(parameters.preview_steps)
    return steps + costs.decode(area, count)


def _evaluation(
    costs: ModelCosts,
    parameters: TrainingParameters,
    areas: Sequence[float],
    pictures: Sequence[int],
    neutral_prompts: int,
    samples: EvaluationSamples,
) -> Counted:
    """Fit on training pictures, on their moved views or on the held-out picture, and drift on neutral prompts."""
    square = (parameters.resolution / costs.side) ** 2
    total = _predictions(costs, parameters, areas[0], samples.moved)
    for area, count in zip(areas, pictures, strict=True):
        total = total + _predictions(costs, parameters, area, samples.fit * count / sum(pictures))
    for count in (samples.held_out, samples.drift if neutral_prompts else 0):
        total = total + _predictions(costs, parameters, square, count)
    return total


def _predictions(costs: ModelCosts, parameters: TrainingParameters, area: float, count: float) -> Counted:
    if count == 0:
        return Counted()
    batch = min(EVALUATION_BATCH, math.ceil(count))
    return costs.predict(parameters, area, batch, adapted=True).times(count / batch)


def _encoding(
    costs: ModelCosts,
    parameters: TrainingParameters,
    areas: Sequence[float],
    pictures: Sequence[int],
    own_regularization: int,
) -> Counted:
    """The autoencoder over every view of every picture, and over the regularisation pictures once a bucket."""
    regularization = own_regularization or costs.regularization_pictures
    views = parameters.crop_variants * (2 if parameters.flip else 1)
    total = Counted()
    for area, count in zip(areas, pictures, strict=True):
        total = total + _in_batches(costs, area, views).times(count)
        if parameters.regularization_fraction > 0.0 and regularization:
            total = total + _in_batches(costs, area, regularization)
    return total


def _in_batches(costs: ModelCosts, area: float, count: int) -> Counted:
    whole = costs.encode(area, min(count, ENCODE_BATCH))
    return whole.times(math.ceil(count / ENCODE_BATCH) if count <= ENCODE_BATCH else count / ENCODE_BATCH)


def _value(terms: Mapping[str, Sequence[float]], area: float, batch: int, rank: int) -> Counted:
    features = (1.0, batch, batch * area, batch * area**2, rank, rank * batch * area)
    values = {
        name: max(0.0, sum(factor * feature for factor, feature in zip(factors, features, strict=False)))
        for name, factors in terms.items()
    }
    return Counted(**values)


def _weight_size(parameters: TrainingParameters) -> int:
    """Bytes of a frozen weight outside the autoencoder."""
    return 4 if parameters.mixed_precision == "no" else 2


def _half(parameters: TrainingParameters) -> str:
    return "full" if parameters.mixed_precision == "no" else "half"
