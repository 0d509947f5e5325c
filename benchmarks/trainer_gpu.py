"""The train step at real sizes on a GPU: images a second, share of the compute floor, peak memory.

SD 1.5 at 512 and SDXL at 1024 with random weights, bf16, LoRA of rank 16 on the attention layers. Each variant adds one
thing to the one before it, so that the table says what each is worth.

    python -m benchmarks.trainer_gpu [--models sd-1.5 sdxl] [--batches 1 4 8 16] [--variants plain graphs ...]

A call may take many minutes: compiling alone is about one for each model and batch size.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from contextlib import nullcontext

import torch

from services.trainer.engine.acceleration import build_step
from services.trainer.engine.checkpoints import TrainingState
from services.trainer.engine.conditioning import TextConditioner
from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import Acceleration
from services.trainer.engine.lora import add_adapters, trained_weights
from services.trainer.engine.optimizers import build_optimizer, build_schedule
from services.trainer.engine.passes import PassInputs
from services.trainer.engine.precision import autocast, gradient_scaler, reproducible
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.recipe.parameters import DEFAULT_SPECS, TrainingParameters, resolve
from services.trainer.worker.files import files_of
from tests.fixtures.real_sizes import real_size

TINY = "fiveshot-tiny"
SIDES = {"sd-1.5": 512, "sdxl": 1024, TINY: 64}
BATCHES = (1, 4, 8, 16)
FLOOR_MS = {"sd-1.5": 2.2, "sdxl": 18.0, TINY: 0.0}
"""Milliseconds an image by arithmetic alone, on a GPU of 790 TFLOP/s in bf16. The tiny model is bound by launches."""

WARM_UP = 4
STEPS = 30


def _variant(**on: bool) -> Acceleration:
    off = {
        "graphs": False,
        "compiled": False,
        "channels_last": False,
        "fused_optimizer": False,
        "fused_lora": False,
        "reproducible": False,
    }
    return Acceleration(**{**off, **on})


_FUSED = {"fused_optimizer": True}
_LAYOUT = {**_FUSED, "channels_last": True}
_LORA = {**_LAYOUT, "fused_lora": True}
_GRAPHS = {**_LORA, "graphs": True}
VARIANTS = {
    "plain": _variant(),
    "fused_optimizer": _variant(**_FUSED),
    "channels_last": _variant(**_LAYOUT),
    "fused_lora": _variant(**_LORA),
    "graphs": _variant(**_GRAPHS),
    "reproducible": _variant(**_GRAPHS, reproducible=True),
    "compiled": _variant(**_GRAPHS, compiled=True),
    "everything": _variant(**_GRAPHS, compiled=True, reproducible=True),
}
"""Up to ``graphs`` each adds to the one before; ``reproducible`` is what the engine runs, ``compiled`` what it runs in
long jobs without its promise of equal bytes, ``everything`` with it."""


def measure(
    name: str, batch: int, chosen: Acceleration, side: int | None = None, on: str = "cuda", steps: int = STEPS
) -> dict[str, float]:
    """Milliseconds a step, images a second, share of the floor, peak MiB and the seconds until the step is warm."""
    device = torch.device(on)
    side = side or SIDES[name]
    precision = "bf16" if on == "cuda" else "no"
    parameters = resolve(
        DEFAULT_SPECS,
        {"mixed_precision": precision, "rank": 16, "batch_size": batch, "resolution": side, "learning_rate": 1e-4},
    )
    _forget()
    with reproducible(device) if chosen.reproducible else nullcontext():
        family = _family(name, device)
        if not chosen.channels_last:
            family.use_contiguous_layout()
        weights = trained_weights(add_adapters(family, parameters))
        optimizer = build_optimizer(weights, family.facts.denoiser.component, parameters, fused=chosen.fused_optimizer)
        schedule = build_schedule(optimizer, parameters, 1000)
        state = TrainingState(weights, {}, optimizer, schedule, gradient_scaler(device, precision))
        conditioner = TextConditioner(family, trained=False)
        step = build_step(chosen, family, conditioner, parameters, state)
        draws = [_inputs(family, conditioner, parameters, number) for number in range(3)]
        started = time.perf_counter()
        for number in range(WARM_UP):
            step.accumulate(draws[number % len(draws)])
            step.update()
            schedule.step()
        _wait(device)
        warm = time.perf_counter()
        for number in range(steps):
            step.accumulate(draws[number % len(draws)])
            step.update()
            schedule.step()
        _wait(device)
        seconds = (time.perf_counter() - warm) / steps
    return {
        "step_ms": round(seconds * 1e3, 2),
        "images_per_second": round(batch / seconds, 2),
        "share_of_floor": round(batch * FLOOR_MS[name] / (seconds * 1e3), 3),
        "peak_mib": round(torch.cuda.max_memory_allocated() / 2**20) if on == "cuda" else 0,
        "warm_up_seconds": round(warm - started, 1),
    }


def run(
    models: list[str], batches: list[int], variants: list[str], device: str = "cuda", steps: int = STEPS
) -> dict[str, dict[str, float] | str]:
    """Measure every combination, print a line for each at once and JSON at the end."""
    print(torch.cuda.get_device_name() if device == "cuda" else device, torch.__version__)
    results: dict[str, dict[str, float] | str] = {}
    for name in models:
        for batch in batches:
            for variant in variants:
                try:
                    found: dict[str, float] | str = measure(name, batch, VARIANTS[variant], on=device, steps=steps)
                except torch.OutOfMemoryError:
                    found = "out of memory"
                results[f"{name} {batch} {variant}"] = found
                print(f"{name:8} batch {batch:2} {variant:16} {found}", flush=True)
    print(json.dumps(results))
    return results


def _family(name: str, device: torch.device) -> Family:
    if name == TINY:
        return load_family(files_of(load_catalogue()[TINY]), device, torch.float32)
    return real_size(name, device, torch.bfloat16)[0]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _inputs(family: Family, conditioner: TextConditioner, parameters: TrainingParameters, seed: int) -> PassInputs:
    device, batch = family.device, parameters.batch_size
    side = parameters.resolution // family.latent_factor
    channels = family.denoiser.config.in_channels
    torch.manual_seed(seed)
    latents, noise = (torch.randn(batch, channels, side, side, device=device) for _ in range(2))
    with torch.no_grad(), autocast(device, parameters.mixed_precision):
        text = conditioner.inputs(["a photo of a ball"] * batch)
    level, weights = torch.rand(batch, device=device), torch.ones(batch, device=device)
    return PassInputs(latents, noise, level, weights, torch.tensor(float(batch), device=device), text, None)


def _forget() -> None:
    """Nothing of the last variant stays: neither its model nor its compiled code nor its peak of memory."""
    gc.collect()
    torch.compiler.reset()
    if not torch.cuda.is_available():
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["sd-1.5", "sdxl"], choices=list(SIDES))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.trainer_gpu needs a CUDA device and a torch built for CUDA")
    run(arguments.models, arguments.batches, arguments.variants)


if __name__ == "__main__":
    main()
