"""Draws pictures on request: with LoRA files on a base model, or with the live weights of a run between two steps.

A file is attached by diffusers' own loader and taken off again; the base model's weights are never written. A run's
state is left as it was: weights are put back from copies, and no random number of the run is drawn, so the steps after
it are bitwise those that it would have taken anyway.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from services.trainer.engine.acceleration import uncompiled
from services.trainer.engine.errors import EngineError
from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.job import PhaseProgress
from services.trainer.engine.lora import ADAPTER_NAME, remove_adapters, wrapped_layers
from services.trainer.engine.optimizers import set_mode
from services.trainer.engine.out_of_memory import out_of_memory_named
from services.trainer.engine.precision import DTYPES, autocast, choose_device, reproducible
from services.trainer.engine.preparation import Run
from services.trainer.engine.previews import sampled_pictures
from services.trainer.engine.quiet import quiet_libraries
from services.trainer.engine.try_out import DrawnPicture, NotWanted, TryOut, TryOutSpec
from services.trainer.engine.warm import Warm
from services.trainer.recipe.phases import Phase
from services.trainer.recipe.preview_cells import Cell

BATCH = 4
"""Pictures drawn at once: about as many as a job's previews."""
_SMALLER = "Ask for smaller pictures, or use a worker with more memory."


def draw(spec: TryOutSpec, warm: Warm) -> None:
    """Draw every cell with the files of its sources; the base model is taken from ``warm`` and given back to it.

    Raises:
        NotWanted: when it was told to end; ``warm`` keeps the base model.
        EngineError: OUT_OF_MEMORY, LORA_UNREADABLE for a file that does not fit, and what loading a model raises.
    """
    quiet_libraries()
    device = choose_device(spec.device)
    with out_of_memory_named(_SMALLER), reproducible(device):
        family = warm.take(
            spec.base_model,
            device,
            DTYPES[spec.mixed_precision],
            spec.quantization,
            spec.streamed_blocks,
            as_held=True,
        )
        # An earlier job's captions may have needed more chunks of text.
        family.use_long_texts([""])
        try:
            for source, cells in itertools.groupby(spec.try_out.cells, lambda cell: cell.source):
                with _attached(family, spec.weights[source]), autocast(device, spec.mixed_precision):
                    _draw(family, family.components, spec.try_out, tuple(cells), step=0, on_step=lambda _: None)
        except NotWanted:
            warm.give_back(family, family.components)
            raise
        warm.give_back(family, family.components)


def draw_now(run: Run) -> None:
    """Draw what the run's caller asks for with its weights as they are, between two steps.

    What goes wrong is told to the caller, and the run goes on.
    """
    try_out = run.hooks.try_out()
    if try_out is None:
        return
    try:
        _draw_live(run, try_out)
    except (NotWanted, EngineError, OSError) as error:
        try_out.on_end(error)
    else:
        try_out.on_end(None)


def _draw_live(run: Run, try_out: TryOut) -> None:
    def report(step: int) -> None:
        run.hooks.on_phase(PhaseProgress(Phase.TRY_OUT, step, try_out.steps))

    kept = {name: weight.detach().clone() for name, weight in run.state.weights.items()}
    set_mode(run.state.optimizer, training=False)
    try:
        with (
            out_of_memory_named(_SMALLER),
            uncompiled(run.acceleration),
            run.average.in_place(),
            autocast(run.family.device, run.mixed_precision),
        ):
            _draw(run.family, run.carriers, try_out, try_out.cells, step=run.place.step, on_step=report)
    finally:
        set_mode(run.state.optimizer, training=True)
        with torch.no_grad():
            # Optimizers that keep two sets of weights only come close to the bits that they had.
            for name, weight in run.state.weights.items():
                weight.copy_(kept[name])
    # What follows is the run's own time again.
    run.hooks.on_phase(PhaseProgress(Phase.TRAINING, 0, 0))


def _draw(
    family: Family,
    carriers: Mapping[str, nn.Module],
    try_out: TryOut,
    cells: Sequence[Cell],
    *,
    step: int,
    on_step: Callable[[int], None],
) -> None:
    def tell(solver_step: int) -> None:
        on_step(solver_step)
        if not try_out.wanted():
            raise NotWanted

    try_out.folder.mkdir(parents=True, exist_ok=True)
    devices = [family.device] if family.device.type == "cuda" else []
    for strength, same in itertools.groupby(cells, lambda cell: cell.strength):
        equal = list(same)
        for start in range(0, len(equal), BATCH):
            batch = equal[start : start + BATCH]
            request = SamplingRequest(
                tuple(cell.prompt for cell in batch),
                tuple(cell.seed for cell in batch),
                try_out.negative_prompt,
                try_out.width,
                try_out.height,
                try_out.steps,
                try_out.guidance,
            )
            with _at_strength(carriers, strength), torch.random.fork_rng(devices):
                pictures = sampled_pictures(family, request, tell)
            drawn = [DrawnPicture(cell, try_out.folder / f"{cell.file_id}.png", step) for cell in batch]
            for each, picture in zip(drawn, pictures, strict=True):
                picture.save(each.path)
            try_out.on_pictures(drawn)


@contextmanager
def _attached(family: Family, file: Path) -> Iterator[None]:
    """The base model with a LoRA file on it. Every layer is taken off again, also after an error."""
    pipeline = family.pipeline()
    try:
        try:
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=ADAPTER_NAME)
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            raise _unreadable() from error
        if not pipeline.get_active_adapters():
            raise _unreadable()
        for component in family.components.values():
            component.requires_grad_(False).eval()
        yield
    finally:
        remove_adapters(family.components)


@contextmanager
def _at_strength(carriers: Mapping[str, nn.Module], strength: float) -> Iterator[None]:
    """Adapters that apply so strongly; their own scales come back bitwise."""
    layers = wrapped_layers(carriers.values())
    scales = [dict(layer.scaling) for layer in layers]
    for layer, own in zip(layers, scales, strict=True):
        layer.scaling.update({name: scale * strength for name, scale in own.items()})
    try:
        yield
    finally:
        for layer, own in zip(layers, scales, strict=True):
            layer.scaling.update(own)


def _unreadable() -> EngineError:
    return EngineError(
        "LORA_UNREADABLE",
        "The LoRA does not fit its base model, or is of a kind that cannot be attached.",
        "Check with which base model it was trained, and import it again for that one.",
    )
