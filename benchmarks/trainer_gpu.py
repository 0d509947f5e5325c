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
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import Acceleration
from services.trainer.engine.lora import add_adapters, trained_weights
from services.trainer.engine.optimizers import build_optimizer, build_schedule
from services.trainer.engine.passes import PassInputs
from services.trainer.engine.precision import autocast, gradient_scaler, reproducible
from services.trainer.recipe.parameters import DEFAULT_SPECS, TrainingParameters, resolve
from tests.fixtures.real_sizes import real_size

SIDES = {"sd-1.5": 512, "sdxl": 1024}
BATCHES = (1, 4, 8, 16)
FLOOR_MS = {"sd-1.5": 2.2, "sdxl": 18.0}
"""Milliseconds an image by arithmetic alone, on a GPU of 790 TFLOP/s in bf16."""

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


def measure(name: str, batch: int, chosen: Acceleration, side: int | None = None) -> dict[str, float]:
    """Milliseconds a step, images a second, share of the floor, peak MiB and the seconds until the step is warm."""
    device = torch.device("cuda")
    side = side or SIDES[name]
    parameters = resolve(
        DEFAULT_SPECS,
        {"mixed_precision": "bf16", "rank": 16, "batch_size": batch, "resolution": side, "learning_rate": 1e-4},
    )
    _forget()
    with reproducible(device) if chosen.reproducible else nullcontext():
        family, _ = real_size(name, device, torch.bfloat16)
        if not chosen.channels_last:
            family.use_contiguous_layout()
        weights = trained_weights(add_adapters(family, parameters))
        optimizer = build_optimizer(weights, family.facts.denoiser.component, parameters, fused=chosen.fused_optimizer)
        schedule = build_schedule(optimizer, parameters, 1000)
        state = TrainingState(weights, {}, optimizer, schedule, gradient_scaler(device, "bf16"))
        conditioner = TextConditioner(family, trained=False)
        step = build_step(chosen, family, conditioner, parameters, state)
        draws = [_inputs(family, conditioner, parameters, number) for number in range(3)]
        started = time.perf_counter()
        for number in range(WARM_UP):
            step.accumulate(draws[number % len(draws)])
            step.update()
            schedule.step()
        torch.cuda.synchronize()
        warm = time.perf_counter()
        for number in range(STEPS):
            step.accumulate(draws[number % len(draws)])
            step.update()
            schedule.step()
        torch.cuda.synchronize()
        seconds = (time.perf_counter() - warm) / STEPS
    return {
        "step_ms": round(seconds * 1e3, 2),
        "images_per_second": round(batch / seconds, 2),
        "share_of_floor": round(batch * FLOOR_MS[name] / (seconds * 1e3), 3),
        "peak_mib": round(torch.cuda.max_memory_allocated() / 2**20),
        "warm_up_seconds": round(warm - started, 1),
    }


def run(models: list[str], batches: list[int], variants: list[str]) -> None:
    """Measure every combination, print a line for each at once and JSON at the end."""
    print(torch.cuda.get_device_name(), torch.__version__)
    results: dict[str, dict[str, float] | str] = {}
    for name in models:
        for batch in batches:
            for variant in variants:
                try:
                    found: dict[str, float] | str = measure(name, batch, VARIANTS[variant])
                except torch.OutOfMemoryError:
                    found = "out of memory"
                results[f"{name} {batch} {variant}"] = found
                print(f"{name:8} batch {batch:2} {variant:16} {found}", flush=True)
    print(json.dumps(results))


def _inputs(family: Family, conditioner: TextConditioner, parameters: TrainingParameters, seed: int) -> PassInputs:
    device, batch = family.device, parameters.batch_size
    side = parameters.resolution // family.latent_factor
    torch.manual_seed(seed)
    latents, noise = (torch.randn(batch, 4, side, side, device=device) for _ in range(2))
    with torch.no_grad(), autocast(device, parameters.mixed_precision):
        text = conditioner.inputs(["a photo of a ball"] * batch)
    level, weights = torch.rand(batch, device=device), torch.ones(batch, device=device)
    return PassInputs(latents, noise, level, weights, torch.tensor(float(batch), device=device), text, None)


def _forget() -> None:
    """Nothing of the last variant stays: neither its model nor its compiled code nor its peak of memory."""
    gc.collect()
    torch.compiler.reset()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.trainer_gpu needs a CUDA device and a torch built for CUDA")
    run(arguments.models, arguments.batches, arguments.variants)


if __name__ == "__main__":
    main()
