"""Half precision where it pays and nowhere else: previews of an autoencoder that overflows, float16's scaled losses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from services.trainer.engine.families import load_family
from services.trainer.engine.job import BaseModelFiles, EpochResult, Hooks, TrainJobSpec
from services.trainer.engine.precision import autocast
from services.trainer.engine.train_loop import train
from tests.fixtures.miniatures import write_sdxl

MakeSpec = Callable[..., TrainJobSpec]


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFiles:
    """SDXL's autoencoder in small: its activations pass float16's 65,504, and its pictures are right in float32."""
    folder = tmp_path_factory.mktemp("overflowing") / "base"
    files = write_sdxl(folder)
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    for name in ("decoder.conv_in.weight", "encoder.conv_in.weight"):
        weights[name] *= 1e6
    save_file(weights, path, {"format": "pt"})
    return files


def test_previews_and_latents_of_an_overflowing_autoencoder_are_right(overflowing: BaseModelFiles) -> None:
    cpu = torch.device("cpu")
    exact, half = (load_family(overflowing, cpu, dtype) for dtype in (torch.float32, torch.float16))
    torch.manual_seed(2)
    latents, pixels = torch.randn(2, 4, 8, 8), torch.rand(2, 3, 16, 16)
    expected = [numpy.asarray(picture) for picture in exact.decode_latents(latents)]
    assert all(picture.std() > 1.0 for picture in expected)
    with autocast(cpu, "fp16"), torch.no_grad():
        found = [numpy.asarray(picture) for picture in half.decode_latents(latents)]
        posterior = half.encode_pixels(pixels)
        # What a pipeline that follows autocast would do to it.
        vae = half.pipeline().vae
        spoilt = vae.decode(latents / vae.config.scaling_factor).sample
    assert not bool(torch.isfinite(spoilt).all())
    assert all(numpy.array_equal(*pair) for pair in zip(expected, found, strict=True))
    with torch.no_grad():
        assert torch.equal(posterior.mean, exact.encode_pixels(pixels).mean)


@pytest.mark.parametrize("mixed_precision", ["fp16", "bf16"])
def test_half_precision_trains_and_its_previews_are_not_black(
    make_spec: MakeSpec, overflowing: BaseModelFiles, mixed_precision: str
) -> None:
    epochs: list[EpochResult] = []
    spec = make_spec(
        job={"base_model": overflowing}, mixed_precision=mixed_precision, num_epochs=1, num_repeats=4, rank=4
    )
    train(spec, Hooks(on_epoch=epochs.append))
    (result,) = epochs
    assert result.evaluation.fit_loss < result.evaluation.base_fit_loss
    for preview in result.previews:
        with Image.open(preview.path) as opened:
            assert numpy.asarray(opened).std() > 1.0
    state = json.loads((result.checkpoint_dir / "state.json").read_text())
    assert bool(state["scaler"]) == (mixed_precision == "fp16")


def test_files_of_half_precision_runs_are_half_as_large(make_spec: MakeSpec, tmp_path: Path) -> None:
    sizes = []
    for mixed_precision in ("no", "bf16"):
        epochs: list[EpochResult] = []
        train(make_spec(mixed_precision, mixed_precision=mixed_precision, num_epochs=1), Hooks(on_epoch=epochs.append))
        tensors = load_file(epochs[0].artifacts[0].path)
        # A scale is a number of 32 bits in every file: 16 would round it.
        sizes.append(sum(tensor.nbytes for key, tensor in tensors.items() if not key.endswith(".alpha")))
    assert sizes[0] == 2 * sizes[1]
