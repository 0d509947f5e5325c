"""Estimates against the truth: differing small jobs are estimated, then run, and time and memory compared.

Before each job it is estimated twice: from a probe alone, as for the first job that a device ever sees, and from the
probe and the jobs before, as a worker that measures its jobs goes on. Time is CPU seconds of the one process, because
seconds on a shared machine say more about its other users; a worker itself reads the wall clock.

    OMP_NUM_THREADS=1 python -m benchmarks.estimate [--jobs 8]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gateway.demo_pictures import draw_subject
from services.trainer.engine.devices import MemoryMeter, device_name
from services.trainer.engine.job import Hooks, TrainItem, TrainJobSpec
from services.trainer.engine.quiet import quiet_libraries
from services.trainer.engine.train_loop import train
from services.trainer.recipe.calibration import Measurement, Range, estimate_memory, estimate_time
from services.trainer.recipe.catalogue import BaseModel, load_catalogue
from services.trainer.recipe.costs import JobCost, job_cost
from services.trainer.recipe.parameters import TrainingParameters, resolve
from services.trainer.recipe.plan import PictureSize, plan_job
from services.trainer.worker.files import files_of
from services.trainer.worker.measurements import measurement_of
from services.trainer.worker.measuring import RunClock, timed
from services.trainer.worker.pictures import decode_original
from services.trainer.worker.probing import probe_spec

MIB = 1 << 20
SIDE = 256
"""Of the drawn pictures, in pixels."""

JOBS: dict[str, dict[str, object]] = {
    "defaults, batch 8": {},
    "batch 2": {"batch_size": 2},
    "batch 16, rank 4": {"batch_size": 16, "rank": 4},
    "attention only, no text encoder": {"target_modules": "attention", "train_text_encoder": False},
    "rank 64": {"rank": 64},
    "128 pixels, batch 4": {"resolution": 128, "batch_size": 4},
    "no regularisation, 30 preview steps": {"regularization_fraction": 0.0, "preview_steps": 30},
    "gradient checkpointing, 3 epochs": {"gradient_checkpointing": True, "num_epochs": 3},
    "attention and feed-forward, DoRA": {"target_modules": "attention_ff", "adapter": "dora"},
    "accumulation 2, preview steps 5": {"gradient_accumulation_steps": 2, "preview_steps": 5},
}


@dataclass(frozen=True, slots=True)
class Truth:
    """What a job took. seconds: CPU seconds. measurement: what a worker would report, with CPU seconds."""

    seconds: float
    peak_bytes: int
    measurement: Measurement


def run(spec: TrainJobSpec, model: BaseModel, name: str, *, probe: bool = False) -> Truth:
    """Train it as a worker does."""
    memory = MemoryMeter(spec.device)
    clock = RunClock(time.process_time)
    train(spec, timed(Hooks(), clock))
    measured = measurement_of(spec, model, clock, memory, device=name, probe=probe)
    assert measured is not None, "every job here has steps enough"
    return Truth(sum(clock.seconds.values()), measured.peak_bytes, measured)


def cost_of(model: BaseModel, parameters: TrainingParameters, items: tuple[TrainItem, ...]) -> JobCost:
    """What the trainer would count, which has no worker to ask."""
    assert model.costs is not None
    plan = plan_job([PictureSize(SIDE, SIDE, None, one.repeats) for one in items], parameters, model.pixel_multiple)
    return job_cost(model.costs, parameters, plan, neutral_prompts=len(model.neutral_prompts))


def compare(label: str, truth: float, estimate: Range, unit: float) -> dict[str, object]:
    """One row: estimate with its range, truth, error."""
    return {
        "what": label,
        "estimate": round(estimate.middle / unit, 1),
        "low": round(estimate.low / unit, 1),
        "high": round(estimate.high / unit, 1),
        "truth": round(truth / unit, 1),
        "error": round(estimate.middle / truth - 1.0, 3),
        "within": bool(estimate.low <= truth <= estimate.high),
    }


def main() -> None:
    """Probe, then estimate, run and compare each job; print tables and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=len(JOBS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=16, help="of each of the five pictures, an epoch")
    given = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    model = load_catalogue()["fiveshot-tiny"]
    name = device_name(given.device)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        own = resolve(model.specs, {}).batch_size
        probes = [
            run(probe_spec(model, size, folder / "probe", given.device), model, name, probe=True) for size in (1, own)
        ]
        print(f"probe: {sum(one.seconds for one in probes):.1f} CPU s")
        known = [one.measurement for one in probes]
        items = _pictures(folder, given.repeats)
        for label, changes in list(JOBS.items())[: given.jobs]:
            base = replace(resolve(model.specs, {}), num_epochs=1, num_repeats=1, crop_variants=2, hold_out=False)
            parameters = replace(base, **changes)  # type: ignore[arg-type]
            cost = cost_of(model, parameters, items)
            estimates = {"probe": list(known[:2]), "probe and jobs before": list(known)}
            guesses = {}
            for basis, measured in estimates.items():
                timing = estimate_time(
                    cost, measured, device=name, base_model=f"baseModels/{model.id}", mixed_precision="no"
                )
                assert timing is not None
                memory, _ = estimate_memory(cost, measured, device=name, base_model=f"baseModels/{model.id}")
                guesses[basis] = (timing.total, memory)
            spec = TrainJobSpec(
                base_model=files_of(model),
                parameters=parameters,
                items=items,
                output_dir=folder / f"job-{len(known)}",
                decode=decode_original,
                device=given.device,
                processes=1,
            )
            truth = run(spec, model, name)
            for basis, (seconds, memory) in guesses.items():
                rows.append({"job": label, "basis": basis, **compare("CPU s", truth.seconds, seconds, 1.0)})
                rows.append({"job": label, "basis": basis, **compare("MiB", truth.peak_bytes, memory, MIB)})
            _print(rows[-4:])
            known.append(truth.measurement)
    _summary(rows)
    print(json.dumps(rows))


def _pictures(folder: Path, repeats: int) -> tuple[TrainItem, ...]:
    items = []
    for number, (image, caption) in enumerate(draw_subject("mascot", 5, 7)):
        path = folder / f"{number}.png"
        image.resize((SIDE, SIDE)).save(path)
        items.append(TrainItem(path, caption, repeats=repeats))
    return tuple(items)


def _print(rows: list[dict[str, object]]) -> None:
    for row in rows:
        print(
            f"{row['job']:38} {row['basis']:22} {row['what']:6} {row['estimate']:>8} ({row['low']} to {row['high']})"
            f"  truth {row['truth']:>8}  error {row['error']:+.1%}",
            flush=True,
        )


def _summary(rows: list[dict[str, object]]) -> None:
    for what in ("CPU s", "MiB"):
        for basis in ("probe", "probe and jobs before"):
            chosen = [row for row in rows if row["what"] == what and row["basis"] == basis]
            errors = [abs(float(str(row["error"]))) for row in chosen]
            inside = sum(bool(row["within"]) for row in chosen)
            print(
                f"{what}, from {basis}: median error {statistics.median(errors):.1%}, largest {max(errors):.1%},"
                f" {inside} of {len(chosen)} within the range"
            )


if __name__ == "__main__":
    main()
