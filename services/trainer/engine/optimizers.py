"""Optimizers and learning-rate schedules, from torch and kept libraries; ours is only the choice between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from diffusers.optimization import get_scheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from services.trainer.engine.errors import EngineError
from services.trainer.recipe.parameters import TrainingParameters


def build_optimizer(
    weights: Mapping[str, nn.Parameter], denoiser: str, parameters: TrainingParameters, *, fused: bool = True
) -> Optimizer:
    """The optimizer over all trained weights, the text encoders' in a group of their own rate.

    Args:
        denoiser: name of the component whose weights take ``learning_rate``.
        fused: AdamW updates all weights in one kernel.

    Raises:
        EngineError: OPTIMIZER_UNAVAILABLE when its library is not installed on this worker.
    """
    groups = [
        {
            "params": [weight for name, weight in weights.items() if name.startswith(f"{denoiser}.")],
            "lr": parameters.learning_rate,
        },
        {
            "params": [weight for name, weight in weights.items() if not name.startswith(f"{denoiser}.")],
            "lr": parameters.text_encoder_learning_rate,
        },
    ]
    groups = [group for group in groups if group["params"]]
    decay = parameters.weight_decay
    match parameters.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=decay, fused=fused)
        case "adamw8bit":
            optimizer = _library("bitsandbytes.optim", "AdamW8bit")(groups, betas=(0.9, 0.99), weight_decay=decay)
        case "adafactor":
            optimizer = _library("transformers.optimization", "Adafactor")(
                groups, scale_parameter=False, relative_step=False, warmup_init=False, weight_decay=decay
            )
        case "prodigy":
            # Its estimate grows from d0 and never shrinks: the usual 1e-6 wastes a short job's first fifty steps.
            optimizer = _library("pytorch_optimizer", "Prodigy")(
                groups, betas=(0.9, 0.99), d0=1e-5, weight_decay=decay, safeguard_warmup=True, bias_correction=True
            )
        case "lion":
            optimizer = _library("pytorch_optimizer", "Lion")(groups, weight_decay=decay)
        case "schedule_free":
            optimizer = _library("pytorch_optimizer", "ScheduleFreeAdamW")(groups, weight_decay=decay)
        case _:
            raise AssertionError(parameters.optimizer)
    built: Optimizer = optimizer
    return built


def build_schedule(optimizer: Optimizer, parameters: TrainingParameters, total_steps: int) -> LRScheduler:
    """The learning rate over the optimizer steps of the whole job."""
    warmup_steps = min(parameters.lr_warmup_steps, total_steps // 2)
    if parameters.lr_scheduler == "polynomial":
        return LambdaLR(optimizer, lambda step: _polynomial(step, warmup_steps, total_steps, parameters.lr_power))
    schedule: LRScheduler = get_scheduler(
        parameters.lr_scheduler,
        optimizer,
        num_warmup_steps=warmup_steps,
        num_training_steps=total_steps,
        num_cycles=parameters.lr_num_cycles,
    )
    return schedule


def _polynomial(step: int, warmup_steps: int, total_steps: int, power: float) -> float:
    """Share of the rate at a step. diffusers' own reads one rate for all groups, which Adafactor does not have."""
    if step < warmup_steps:
        return step / warmup_steps
    left = max(0.0, 1.0 - (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return math.pow(left, power)


def set_mode(optimizer: Optimizer, *, training: bool) -> None:
    """Schedule-free optimizers keep two sets of weights: one to take gradients at, one to sample and export with."""
    switch = getattr(optimizer, "train" if training else "eval", None)
    if switch is not None:
        switch()


def _library(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise EngineError(
            "OPTIMIZER_UNAVAILABLE",
            f"This worker has no {module.split('.')[0]}, which the chosen optimizer needs.",
            "Choose the optimizer adamw, or install the library on the workers.",
        ) from error
