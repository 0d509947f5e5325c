"""fiveshot-tiny as it is shipped: loads anywhere, draws what it drew, knows no trigger word, takes and keeps a LoRA."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from gateway.demo_pictures import draw_subject
from services.trainer.engine.job import BaseModelFiles, EpochResult, Hooks, TrainItem, TrainJobSpec
from services.trainer.engine.train_loop import train
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.recipe.parameters import resolve
from services.trainer.worker.pictures import decode_original

PREVIEW_STEPS = 6
BASE = load_catalogue()["fiveshot-tiny"]
FOLDER = Path(BASE.source)
GOLDEN = Path(__file__).parent.parent / "golden" / "fiveshot_tiny.png"
GOLDEN_PROMPTS = (
    "a photo of a dog on a red background",
    "a cat in a meadow",
    "a panda on a blue background",
    "a photo of a fox in the snow",
)
NEUTRAL_WORDS = (
    *("sks", "ohwx", "zwx", "xyz", "qrt", "mksks", "tok", "vxz", "kpw", "zrx"),
    *("mascot", "snail", "train", "toy", "character", "animal", "vehicle", "thing"),
)
"""Trigger words and nouns of subjects that the base was never shown: a LoRA gives them their meaning."""


@cache
def _pipeline() -> Any:
    return StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32, safety_checker=None)


def _draw(pipeline: Any, prompts: Sequence[str], *, seed: int = 0, steps: int = 20) -> list[NDArray[np.int64]]:
    """An RGB picture (h, w, 3) per prompt, each from its own seed (`seed` + its index): DPM-Solver++, guidance 3."""
    sampler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, algorithm_type="dpmsolver++", timestep_spacing="trailing"
    )
    sampling = StableDiffusionPipeline(**{**pipeline.components, "scheduler": sampler}, requires_safety_checker=False)
    sampling.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
    output = sampling(list(prompts), num_inference_steps=steps, guidance_scale=3.0, generator=generators)
    return [np.asarray(picture.convert("RGB")).astype(int) for picture in output.images]


def test_every_part_loads_through_its_public_class() -> None:
    pipeline = _pipeline()
    assert isinstance(pipeline.unet, UNet2DConditionModel)
    assert isinstance(pipeline.vae, AutoencoderKL)
    assert isinstance(pipeline.text_encoder, CLIPTextModel)
    assert isinstance(pipeline.tokenizer, CLIPTokenizer)
    assert isinstance(pipeline.scheduler, DDIMScheduler)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.text_encoder.config.vocab_size == len(pipeline.tokenizer)


def test_the_files_are_small_float16_and_hold_no_pickle() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25_000_000
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".png"}
    for path in FOLDER.glob("*/*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F16"}  # noqa: SIM118


def test_it_draws_the_golden_pictures() -> None:
    """Rounding differs between processors; a few levels on average is what it may change, not what is drawn."""
    expected = np.asarray(Image.open(GOLDEN).convert("RGB")).astype(int)
    drawn = np.concatenate(_draw(_pipeline(), GOLDEN_PROMPTS), axis=1)
    assert drawn.shape == expected.shape
    assert np.abs(drawn - expected).mean() < 3


@torch.no_grad()
def _predictions(caption: str) -> torch.Tensor:
    pipeline = _pipeline()
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(8, pipeline.unet.config.in_channels, 16, 16, generator=generator)
    tokens = pipeline.tokenizer([caption] * 8, padding="max_length", truncation=True, return_tensors="pt")
    states = pipeline.text_encoder(tokens.input_ids)[0]
    prediction: torch.Tensor = pipeline.unet(latents, torch.linspace(300, 980, 8).long(), states).sample
    return prediction


def test_trigger_words_and_new_nouns_mean_nothing_before_training() -> None:
    """Measured against the change that another animal in the same caption makes."""
    plain = _predictions("a photo of a dog on a red background")
    another = (_predictions("a photo of a cat on a red background") - plain).square().mean()
    for word in NEUTRAL_WORDS:
        change = (_predictions(f"a photo of a {word} dog on a red background") - plain).square().mean()
        assert change < 0.1 * another, f"{word} changes the prediction by {float(change / another):.0%}"


def test_every_trigger_word_is_one_token() -> None:
    tokenizer = _pipeline().tokenizer
    for word in NEUTRAL_WORDS:
        assert len(tokenizer(word).input_ids) == 3, word
        assert tokenizer.decode(tokenizer(word).input_ids, skip_special_tokens=True).strip() == word


def test_regularization_pictures_have_captions_and_the_models_size() -> None:
    path = FOLDER / "regularization.safetensors"
    pictures = load_file(path)["pictures"]
    assert pictures.dtype == torch.uint8
    assert pictures.shape[1:] == (BASE.resolution, BASE.resolution, 3)
    assert path.stat().st_size < 3_000_000


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> EpochResult:
    """One short epoch at a rate that visibly moves the weights, with alpha unlike rank."""
    folder = tmp_path_factory.mktemp("lora")
    items = []
    for i, (picture, caption) in enumerate(draw_subject("mascot", 3, seed=1, size=128)):
        picture.save(folder / f"{i}.png")
        items.append(TrainItem(folder / f"{i}.png", caption, name=f"{i}.png"))
    settings = {"num_epochs": 1, "num_repeats": 16, "batch_size": 6, "rank": 8, "alpha": 3.0, "learning_rate": 5e-3}
    settings |= {"lr_warmup_steps": 0, "preview_steps": PREVIEW_STEPS}
    parameters = resolve(BASE.specs, {"trigger_word": "sks", **settings})
    files = BaseModelFiles(BASE.id, BASE.family, BASE.source, BASE.architecture)
    epochs: list[EpochResult] = []
    spec = TrainJobSpec(files, parameters, tuple(items), folder / "run", decode_original, device="cpu")
    train(spec, Hooks(on_epoch=epochs.append))
    return epochs[0]


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_a_lora_from_disk_draws_what_it_drew_in_memory(trained: EpochResult, form: str) -> None:
    path = next(artifact.path for artifact in trained.artifacts if artifact.form == form)
    weights = load_file(path)
    raised = [tensor for name, tensor in weights.items() if "lora_B" in name or "lora_up" in name or ".up." in name]
    assert raised
    assert all(bool(tensor.abs().max() > 0) for tensor in raised)

    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32, safety_checker=None)
    preview = trained.previews[0]
    (before,) = _draw(pipeline, [preview.prompt], seed=preview.seed, steps=PREVIEW_STEPS)
    pipeline.load_lora_weights(path.parent, weight_name=path.name)
    (after,) = _draw(pipeline, [preview.prompt], seed=preview.seed, steps=PREVIEW_STEPS)
    in_memory = np.asarray(Image.open(preview.path).convert("RGB")).astype(int)
    assert np.abs(after - in_memory).max() <= 3
    assert np.abs(before - in_memory).mean() > 3, "the LoRA changes the picture"
