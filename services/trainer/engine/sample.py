"""Loads an exported LoRA into its base model with diffusers and samples: what a user does with a downloaded file.

    python -m services.trainer.engine.sample --base-model fiveshot-tiny --lora model.safetensors --out pictures.png \
        --prompt "a photo of sks robot in the snow" --seed 1

It uses diffusers' public loader and nothing of the training code, so it shows that the file stands on its own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler
from PIL import Image

from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, InvalidCatalogue, load_catalogue


def sample(
    base: Path, lora: Path, prompts: list[str], *, seed: int, steps: int, guidance: float, side: int, scale: float
) -> list[Image.Image]:
    """One picture per prompt, `side` pixels square, from `base` with the adapter at `scale` (0 is the base alone).

    Raises:
        ValueError: when the file holds no adapter that fits the base model.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = DiffusionPipeline.from_pretrained(str(base), torch_dtype=torch.float32, local_files_only=True).to(device)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, algorithm_type="dpmsolver++", timestep_spacing="trailing"
    )
    pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name, adapter_name="subject")
    if not pipeline.get_active_adapters():
        raise ValueError(f"{lora} holds no adapter for {base.name}")
    pipeline.set_adapters("subject", scale)
    # A generator per picture, on the CPU: the same seed gives the same noise on every device and in every batch.
    generators = [torch.Generator("cpu").manual_seed(seed + number) for number in range(len(prompts))]
    answer = pipeline(
        prompts, generator=generators, num_inference_steps=steps, guidance_scale=guidance, height=side, width=side
    )
    return list(answer.images)


def side_by_side(pictures: list[Image.Image], cell: int = 256) -> Image.Image:
    """The pictures in a row, each scaled to `cell` pixels."""
    row = Image.new("RGB", (cell * len(pictures), cell), "white")
    for number, picture in enumerate(pictures):
        row.paste(picture.convert("RGB").resize((cell, cell), Image.Resampling.BICUBIC), (number * cell, 0))
    return row


def main() -> int:
    """Reads the command line, samples and writes one PNG."""
    parser = argparse.ArgumentParser(description="Sample from a base model with a LoRA file.")
    parser.add_argument("--base-model", required=True, help="id in the catalogue")
    parser.add_argument("--catalogue", type=Path, default=DEFAULT_CATALOGUE)
    parser.add_argument("--lora", type=Path, required=True)
    parser.add_argument("--prompt", action="append", required=True, help="may be repeated")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    try:
        base = load_catalogue(given.catalogue).get(given.base_model)
        if base is None or base.local_path is None or not base.local_path.exists():
            raise ValueError(f"base model '{given.base_model}' does not lie on this machine")
        pictures = sample(
            base.local_path, given.lora, given.prompt, seed=given.seed, steps=given.steps, guidance=given.guidance,
            side=base.resolution, scale=given.scale,
        )  # fmt: skip
    except (ValueError, OSError, InvalidCatalogue) as error:
        print(f"cannot sample: {error}", file=sys.stderr)
        return 1
    given.out.parent.mkdir(parents=True, exist_ok=True)
    side_by_side(pictures).save(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
