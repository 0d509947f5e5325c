"""The whole recipe in miniature, through the same functions as the command line: autoencoder, denoiser, export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from research.fiveshot_tiny.config import CPU64, Size
from research.fiveshot_tiny.distributed import Group, run_in_group
from research.fiveshot_tiny.export import ExportError, export_base
from research.fiveshot_tiny.scenes.sprites import EMOJI_FONT
from research.fiveshot_tiny.state import read_progress
from research.fiveshot_tiny.train_denoiser import Run, train_denoiser
from research.fiveshot_tiny.train_vae import VaeRun, train_vae

pytestmark = pytest.mark.skipif(not EMOJI_FONT.is_file(), reason="no emoji font: make research-font")

TINY: Size = replace(
    CPU64,
    name="tiny",
    resolution=16,
    vae_channels=(8, 8, 8),
    latent_channels=4,
    unet_channels=(32, 32, 32),
    text_width=32,
    text_layers=1,
    batch_size=4,
    scenes=40,
    photographic_scenes=12,
    validation_scenes=8,
    warmup_steps=2,
)


def _sum_ranks(group: Group, folder: Path) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.full((3,), float(group.rank + 1))
    group.average_gradients([parameter])
    agreed = group.agree(float(group.rank + 7))
    group.wait()
    (folder / str(group.rank)).write_text(f"{parameter.grad.tolist()} {agreed} {torch.get_num_threads()}")


def test_processes_average_gradients_and_agree_with_the_first(tmp_path: Path) -> None:
    run_in_group(_sum_ranks, tmp_path, processes=2)
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text() == "[1.5, 1.5, 1.5] 7.0 1"


@pytest.mark.slow
def test_the_recipe_ends_in_a_pipeline_that_loads(tmp_path: Path) -> None:
    folder, target = tmp_path / "run", tmp_path / "base"
    quality = train_vae(VaeRun(TINY, folder, 0.05, pictures=60, processes=1, threads=1))
    assert quality["scene_psnr"] > 5
    encoder = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")["encoder.conv_in.weight"]
    train_vae(VaeRun(TINY, folder, 0.05, pictures=60, processes=1, threads=1))
    after = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    assert torch.equal(encoder, after["encoder.conv_in.weight"]), "a second run must leave the latents valid"

    run = Run(TINY, folder, minutes=0.1, processes=2, checkpoint_minutes=0.05)
    train_denoiser(run)
    first = read_progress(folder / "state.safetensors")
    assert first.steps > 0
    assert first.samples == first.steps * TINY.batch_size
    train_denoiser(replace(run, processes=1))
    second = read_progress(folder / "state.safetensors")
    assert second.steps > first.steps
    assert list((folder / "grids").glob("samples-*.png"))

    export_base(folder, TINY, target)
    pipeline = StableDiffusionPipeline.from_pretrained(target, dtype=torch.float32, safety_checker=None)
    assert pipeline.unet.config.sample_size == TINY.latent_size
    card = (target / "README.md").read_text()
    assert f"{second.samples:,} samples seen" in card
    assert "$" not in card
    assert str(tmp_path) not in "".join(path.read_text() for path in target.rglob("*.json"))


def test_weights_that_float16_cannot_hold_are_not_exported(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train_vae(VaeRun(TINY, folder, 0.02, pictures=30, processes=1, threads=1))
    train_denoiser(Run(TINY, folder, minutes=0.02, processes=1))
    state = folder / "state.safetensors"
    _spoil(state)
    with pytest.raises(ExportError, match="not finite"):
        export_base(folder, TINY, tmp_path / "base")
    assert not (tmp_path / "base").exists()


def _spoil(state: Path) -> None:
    """Makes one averaged weight too large for float16, keeping the header's progress."""
    with safe_open(state, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(state)
    tensors["average.unet.conv_in.bias"][0] = 1e6
    save_file(tensors, state, metadata=metadata)
