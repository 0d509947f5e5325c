"""Training parameters: their names, limits, and the resolving of what a user gave against a base model's specs.

Pure Python: use cases import it to validate a job, the engine to run one. A base model's catalogue entry narrows the
defaults and limits written here (``ParameterSpec.override``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from services.trainer.recipe.parameter_spec import (
    MAX_PREVIEWS,
    MAX_PROMPT_CHARACTERS,
    MAX_SEED,
    InvalidParameter,
    InvalidParameters,
    ParameterSpec,
    ParameterType,
    ParameterValue,
)


@dataclass(frozen=True, slots=True)
class TrainingParameters:
    """Everything that decides a training run, next to the base model and the dataset version.

    ``batch_size`` counts the subject's pictures in one forward pass over all processes; regularisation pictures come on
    top (``regularization_fraction`` of them per subject picture, weighted by ``prior_weight``). A value of 0 switches
    ``min_snr_gamma``, ``noise_offset``, ``ema_decay``, ``max_grad_norm``, ``timestep_shift`` and
    ``preservation_weight`` off.
    """

    preset: str
    num_epochs: int
    num_repeats: int
    batch_size: int
    gradient_accumulation_steps: int
    resolution: int
    aspect_buckets: bool
    learning_rate: float
    text_encoder_learning_rate: float
    optimizer: str
    weight_decay: float
    max_grad_norm: float
    lr_scheduler: str
    lr_warmup_steps: int
    lr_num_cycles: int
    lr_power: float
    adapter: str
    rank: int
    alpha: float
    target_modules: str
    train_text_encoder: bool
    min_snr_gamma: float
    noise_offset: float
    timestep_sampling: str
    timestep_shift: float
    caption_dropout: float
    shuffle_caption: bool
    keep_tokens: int
    trigger_word: str
    flip: bool
    crop_variants: int
    crop_jitter: float
    masked_loss: bool
    unmasked_weight: float
    regularization_fraction: float
    prior_weight: float
    preservation_weight: float
    preservation_class: str
    ema_decay: float
    hold_out: bool
    mixed_precision: str
    base_quantization: str
    gradient_checkpointing: bool
    seed: int
    preview_prompts: tuple[str, ...]
    preview_seeds: tuple[int, ...]
    preview_negative_prompt: str
    preview_steps: int
    preview_guidance: float


_OF_OPTIMIZER: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    # Prodigy multiplies its own estimate of the rate by it (Mishchenko and Defazio 2023): a rate of the others' size
    # leaves nothing of the estimate, and one beyond 10 leaves no stability.
    "prodigy": {
        "learning_rate": {"default": 1.0, "minimum": 0.1, "maximum": 10.0},
        "text_encoder_learning_rate": {"default": 0.0, "minimum": 0.0, "maximum": 10.0},
        "lr_scheduler": {"default": "constant"},
    },
    # Its average of the weights takes the schedule's place (Defazio et al. 2024).
    "schedule_free": {"lr_scheduler": {"default": "constant", "choices": ("constant", "constant_with_warmup")}},
}
"""What a parameter accepts instead with an optimizer, whatever the base model says, whose rates are AdamW's."""


def _number(name: str, default: float, minimum: float, maximum: float, description: str) -> ParameterSpec:
    kind: ParameterType = "int" if isinstance(default, int) else "float"
    return ParameterSpec(name, kind, default, minimum, maximum, (), description)


def _choice(name: str, default: str, choices: tuple[str, ...], description: str) -> ParameterSpec:
    return ParameterSpec(name, "string", default, None, None, choices, description)


def _switch(name: str, default: bool, description: str) -> ParameterSpec:
    return ParameterSpec(name, "bool", default, None, None, (), description)


DEFAULT_SPECS: tuple[ParameterSpec, ...] = (
    _choice(
        "preset",
        "",
        ("", "person", "thing", "style"),
        "Starting point by what is trained, such as person; what a job sets itself goes before it.",
    ),
    _number("num_epochs", 5, 1, 200, "Passes over the dataset; each ends with a LoRA file and previews."),
    _number("num_repeats", 20, 1, 1000, "Times that a picture without its own repeats enters an epoch."),
    _number("batch_size", 4, 1, 64, "Pictures of the subject in one forward pass."),
    _number("gradient_accumulation_steps", 1, 1, 64, "Forward passes whose gradients are added up for one step."),
    _number("resolution", 512, 16, 2048, "Side in pixels of a square with the area that pictures are trained at."),
    _switch("aspect_buckets", True, "Train pictures near their own aspect ratio instead of as squares."),
    _number("learning_rate", 1e-4, 1e-7, 1.0, "Step size of the optimizer for the denoiser's adapter."),
    _number(
        "text_encoder_learning_rate",
        5e-5,
        0.0,
        1.0,
        "Step size for the adapter of the text encoder; 0 takes learning_rate.",
    ),
    _choice(
        "optimizer",
        "adamw",
        ("adamw", "adamw8bit", "adafactor", "prodigy", "lion", "schedule_free"),
        "Optimizer. prodigy finds its own rate: learning_rate multiplies it, is 0.1 to 10 and 1 by default, and the "
        "schedule is constant by default. schedule_free takes constant schedules only.",
    ),
    _number("weight_decay", 0.01, 0.0, 1.0, "Decoupled weight decay of the optimizer."),
    _number("max_grad_norm", 1.0, 0.0, 1000.0, "Largest norm of the gradient; 0 does not clip."),
    _choice(
        "lr_scheduler",
        "cosine",
        ("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"),
        "How the learning rate moves over the steps; see lr_num_cycles and lr_power.",
    ),
    _number(
        "lr_warmup_steps",
        0,
        0,
        10_000,
        "Steps over which the learning rate rises from 0, at most half of all; constant does not use them.",
    ),
    _number(
        "lr_num_cycles",
        3,
        1,
        100,
        "Times that cosine_with_restarts falls to 0, over two steps or more each; other schedules do not use it.",
    ),
    _number("lr_power", 2.0, 0.1, 10.0, "Exponent of the polynomial schedule's fall; 1 is the linear one."),
    _choice("adapter", "lora", ("lora", "rslora", "dora", "loha", "lokr"), "Form of the trained weights."),
    _number("rank", 16, 1, 256, "Rank of the adapter's matrices."),
    _number("alpha", 16.0, 0.1, 1024.0, "Scale of the adapter: its output is multiplied by alpha / rank."),
    _choice("target_modules", "attention", ("attention", "attention_ff", "all"), "Layers that get an adapter."),
    _switch("train_text_encoder", False, "Train an adapter of the text encoder too."),
    _number("min_snr_gamma", 0.0, 0.0, 20.0, "Min-SNR loss weighting; 5 is usual, 0 is off."),
    _number(
        "noise_offset", 0.0, 0.0, 1.0, "Shift of each channel's noise, for very dark or bright subjects; 0 is off."
    ),
    _choice(
        "timestep_sampling",
        "stratified",
        ("stratified", "uniform", "logit_normal", "by_resolution"),
        "How noise levels are drawn; stratified spreads each batch over all of them, by_resolution prefers more noise "
        "for larger pictures, as flow models sample.",
    ),
    _number(
        "timestep_shift",
        0.0,
        0.0,
        10.0,
        "Draw more high noise, or less below 1: t becomes s t / (1 + (s - 1) t); 0 is off.",
    ),
    _number("caption_dropout", 0.05, 0.0, 1.0, "Share of samples trained with an empty caption."),
    _switch("shuffle_caption", False, "Shuffle the comma-separated parts of a caption at every use."),
    _number("keep_tokens", 0, 0, 50, "Leading parts of a caption that stay in place when it is shuffled."),
    ParameterSpec("trigger_word", "string", "", None, 64, (), "The dataset's trigger word, which stands in its texts."),
    _switch("flip", False, "Mirror half of the samples; not for subjects with a left and a right side."),
    _number("crop_variants", 1, 1, 32, "Slightly different crops that are prepared of each picture."),
    _number("crop_jitter", 0.0, 0.0, 0.5, "Largest share of a side that a crop variant cuts away."),
    _switch(
        "masked_loss", False, "Weigh the loss by each picture's mask; one without a mask is kept whole, by its crop."
    ),
    _number("unmasked_weight", 0.1, 0.0, 1.0, "With masked_loss: weight of what lies outside the mask or crop."),
    _number("regularization_fraction", 0.0, 0.0, 4.0, "Pictures of the base model's own domain per subject picture."),
    _number("prior_weight", 1.0, 0.0, 10.0, "Weight of the regularisation pictures' loss."),
    _number(
        "preservation_weight",
        0.0,
        0.0,
        10.0,
        "Weight of a loss that keeps what the base model says of the same pictures without the trigger word; 1 is "
        "usual, 0 is off. A step takes more than twice as long.",
    ),
    ParameterSpec(
        "preservation_class",
        "string",
        "",
        None,
        100,
        (),
        "With preservation_weight: what those captions say in the trigger word's place, such as dog; the dataset's "
        "subject when empty.",
    ),
    _number("ema_decay", 0.0, 0.0, 0.9999, "Decay of the running average of the adapter that is exported; 0 is off."),
    _switch(
        "hold_out", True, "Of eight or more pictures, keep the last out of training to see how far it generalises."
    ),
    _choice("mixed_precision", "no", ("no", "bf16", "fp16"), "Number format of the frozen base and the activations."),
    _choice(
        "base_quantization",
        "none",
        ("none", "int8", "nf4"),
        "Bits of the frozen base's linear layers: less memory, slower steps; int8 and nf4 need bitsandbytes.",
    ),
    _switch("gradient_checkpointing", False, "Save memory by computing activations twice; about a third slower."),
    _number("seed", 42, 0, MAX_SEED, "Seed of every random draw; the same job and seed give the same file."),
    ParameterSpec(
        "preview_prompts",
        "string_list",
        (),
        0,
        MAX_PREVIEWS,
        (),
        "A preview for each; up to three, missing ones come from the captions.",
    ),
    ParameterSpec(
        "preview_seeds",
        "int_list",
        (),
        0,
        MAX_PREVIEWS,
        (),
        "Seed of each preview's noise, in their order; missing ones come from seed.",
    ),
    ParameterSpec(
        "preview_negative_prompt", "string", "", None, MAX_PROMPT_CHARACTERS, (), "What the previews should not show."
    ),
    _number("preview_steps", 6, 1, 100, "Solver steps of a preview."),
    _number("preview_guidance", 5.0, 0.0, 30.0, "Classifier-free guidance of the previews."),
)


def specs_for(specs: Iterable[ParameterSpec], optimizer: object) -> tuple[ParameterSpec, ...]:
    """The specs as they hold with an optimizer, of which some have rates and schedules of their own."""
    changes = _OF_OPTIMIZER.get(optimizer, {}) if isinstance(optimizer, str) else {}
    return tuple(spec.override(changes[spec.name]) if spec.name in changes else spec for spec in specs)


def resolve(specs: Iterable[ParameterSpec], given: Mapping[str, object]) -> TrainingParameters:
    """Defaults of ``specs``, overwritten by what the user gave, all checked.

    Raises:
        InvalidParameters: with every name that no spec has, every value that its spec refuses, and every pair of
            values that do not go together.
    """
    plain = {spec.name: spec for spec in specs}
    given = {**_of_preset(plain["preset"], given), **given}
    optimizer = given.get("optimizer", plain["optimizer"].default)
    by_name = {spec.name: spec for spec in specs_for(plain.values(), optimizer)}
    known = ", ".join(sorted(by_name))
    faults = [
        InvalidParameter(name, f"is not a parameter of this base model; known are {known}")
        for name in given
        if name not in by_name
    ]
    values: dict[str, Any] = {name: spec.default for name, spec in by_name.items()}
    for name in by_name.keys() & given.keys():
        try:
            values[name] = by_name[name].check(given[name])
        except InvalidParameter as fault:
            own = "" if by_name[name] is plain[name] else f" (with the optimizer {optimizer})"
            faults.append(InvalidParameter(name, fault.message + own))
    if values["text_encoder_learning_rate"] == 0.0:
        values["text_encoder_learning_rate"] = values["learning_rate"]
    missing = {field.name for field in fields(TrainingParameters)} - values.keys()
    assert not missing, f"specs without {missing}"
    parameters = TrainingParameters(**values)
    wrong = {fault.field for fault in faults}
    # A value that was refused says nothing about those that it should go together with.
    faults += [fault for fault, partner in _clashes(parameters) if not wrong & {fault.field, partner}]
    if faults:
        order = list(by_name)
        raise InvalidParameters(
            sorted(faults, key=lambda fault: order.index(fault.field) if fault.field in order else -1)
        )
    return parameters


def _of_preset(spec: ParameterSpec, given: Mapping[str, object]) -> Mapping[str, ParameterValue]:
    """What the preset that was given sets, but for rates and schedules that are another optimizer's own."""
    name, optimizer = given.get("preset"), given.get("optimizer")
    own = _OF_OPTIMIZER.get(optimizer, {}) if isinstance(optimizer, str) else {}
    values = spec.sets.get(name, {}) if isinstance(name, str) else {}
    return {name: value for name, value in values.items() if name not in own}


def _clashes(parameters: TrainingParameters) -> Iterator[tuple[InvalidParameter, str]]:
    """Values that do not go together: the one to change, and the name of the other."""
    if parameters.adapter in ("loha", "lokr"):
        offered = "is offered for lora, rslora and dora adapters only"
        if parameters.train_text_encoder:
            yield InvalidParameter("train_text_encoder", offered), "adapter"
        if parameters.base_quantization != "none":
            yield InvalidParameter("base_quantization", offered), "adapter"
    if parameters.optimizer == "prodigy" and parameters.text_encoder_learning_rate != parameters.learning_rate:
        fault = "must be left out or equal to learning_rate: the optimizer prodigy has one rate for all weights"
        yield InvalidParameter("text_encoder_learning_rate", fault), "learning_rate"
    if parameters.crop_variants > 1 and parameters.crop_jitter == 0.0:
        fault = "must be above 0 when crop_variants is above 1, or all variants are equal"
        yield InvalidParameter("crop_jitter", fault), "crop_variants"
