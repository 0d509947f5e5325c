"""Every corrupt or foreign base model is refused with a reason of its own, in words without a path of the worker."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families import load_family
from services.trainer.engine.job import BaseModelFiles
from tests.fixtures.miniatures import write_flux, write_sdxl
from tests.fixtures.single_file import write_single_file

Tensors = dict[str, Tensor]
Change = Callable[[Path], object]
UNET = "unet/diffusion_pytorch_model.safetensors"
TWO_TENSORS = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
OVERLAPPING = json.dumps({"a": TWO_TENSORS, "b": {**TWO_TENSORS, "data_offsets": [4, 12]}}).encode()
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


def weights(folder: Path, component: str) -> Path:
    (path,) = (folder / component).glob("*.safetensors")
    return path


def written(data: bytes) -> Change:
    return lambda folder: weights(folder, "unet").write_bytes(data)


def tensors(change: Callable[[Tensors], Tensors], component: str = "unet") -> Change:
    def go(folder: Path) -> None:
        path = weights(folder, component)
        save_file({name: one.contiguous() for name, one in change(load_file(path)).items()}, path, {"format": "pt"})

    return go


def one_number(value: float) -> Callable[[Tensors], Tensors]:
    """A single weight in the middle of a file."""

    def go(found: Tensors) -> Tensors:
        found[sorted(found)[len(found) // 2]].view(-1)[-1] = value
        return found

    return go


def without_first(found: Tensors) -> Tensors:
    return dict(list(found.items())[1:])


def as_type(kind: torch.dtype) -> Callable[[Tensors], Tensors]:
    return lambda found: {name: (50 * one).to(kind) for name, one in found.items()}


def configured(file: str, **values: object) -> Change:
    def go(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return go


def text(file: str, content: str) -> Change:
    return lambda folder: (folder / file).write_text(content)


def gone(place: str) -> Change:
    def go(folder: Path) -> None:
        path = folder / place
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return go


def linked(place: str, target: str) -> Change:
    def go(folder: Path) -> None:
        gone(place)(folder)
        (folder / place).symlink_to(folder / target)

    return go


def a_folder(folder: Path) -> None:
    gone(UNET)(folder)
    (folder / UNET).mkdir()


def distilled(folder: Path) -> None:
    config = UNet2DConditionModel.load_config(folder / "unet")
    UNet2DConditionModel.from_config({**config, "time_cond_proj_dim": 16}).save_pretrained(folder / "unet")


def a_shard_gone(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"conv_in.weight": "diffusion_pytorch_model-00002-of-00002.safetensors"}}
    (folder / f"{UNET}.index.json").write_text(json.dumps(index))


def a_shard_of_a_variant_gone(folder: Path) -> None:
    a_shard_gone(folder)
    (folder / f"{UNET}.index.json").rename(folder / f"{UNET}.index.fp16.json")


def renamed(name: str, component: str = "unet") -> Change:
    return lambda folder: weights(folder, component).rename(folder / component / name)


def unequal_variants(folder: Path) -> None:
    renamed("diffusion_pytorch_model.fp16.safetensors")(folder)
    renamed("model.bf16.safetensors", "text_encoder")(folder)


def index(**entries: object) -> Change:
    return configured("model_index.json", **entries)


FOLDERS: dict[str, tuple[Change, str, str]] = {
    "empty": (written(b""), "CORRUPT", f"{UNET} is empty"),
    "truncated": (lambda folder: written(weights(folder, "unet").read_bytes()[:-9])(folder), "CORRUPT", "cut short"),
    "huge header": (written(struct.pack("<Q", 1 << 62) + b"{}"), "CORRUPT", "is no safetensors file"),
    "overlapping": (written(struct.pack("<Q", len(OVERLAPPING)) + OVERLAPPING + bytes(12)), "CORRUPT", "lie on one"),
    "pickle": (written(b"PK\x03\x04" + bytes(99)), "UNSAFE", "pickle"),
    "GGUF": (written(b"GGUF\x03\0\0\0" + bytes(99)), "UNSUPPORTED", "GGUF"),
    "web page": (written(b"<!DOCTYPE html><html>" + bytes(99)), "CORRUPT", "web page"),
    "pointer": (written(LFS), "CORRUPT", "Git LFS"),
    "link to nowhere": (linked(UNET, "nowhere"), "CORRUPT", "is not there"),
    "link to itself": (linked(UNET, UNET), "CORRUPT", "is not there"),
    "folder as file": (a_folder, "CORRUPT", "is no file"),
    "component linked to itself": (linked("unet", "unet"), "INCOMPLETE", "has no UNet"),
    "no weights": (gone(UNET), "INCOMPLETE", "lacks its weights"),
    "shard gone": (a_shard_gone, "INCOMPLETE", "00002-of-00002"),
    "shard of a variant gone": (a_shard_of_a_variant_gone, "INCOMPLETE", "00002-of-00002"),
    "shards without their list": (
        renamed("diffusion_pytorch_model-00001-of-00001.safetensors"),
        "INCOMPLETE",
        "UNet .* lacks the list of its files",
    ),
    "another name": (renamed("weights.safetensors", "vae"), "INCOMPLETE", "autoencoder .* known name"),
    "unequal variants": (unequal_variants, "CORRUPT", "UNet as fp16, its text encoder as bf16"),
    "key gone": (tensors(without_first), "INCOMPLETE", "UNet .* lacks weights, such as conv_in"),
    "no keys": (tensors(lambda found: {}), "INCOMPLETE", "UNet .* lacks weights"),
    "key of text gone": (tensors(without_first, "text_encoder"), "INCOMPLETE", "text encoder .* lacks weights"),
    "key of autoencoder gone": (tensors(without_first, "vae"), "INCOMPLETE", "autoencoder .* lacks weights"),
    "foreign keys": (tensors(lambda found: {**found, "x.weight": torch.ones(3)}), "UNSUPPORTED", "such as x.weight"),
    "NaN": (tensors(one_number(float("nan"))), "CORRUPT", "UNet has a weight that is not a number"),
    "infinite": (tensors(one_number(float("-inf")), "vae"), "CORRUPT", "autoencoder has a weight that is not a number"),
    "NaN of text": (tensors(one_number(float("nan")), "text_encoder"), "CORRUPT", "text encoder has a weight"),
    "zeros": (tensors(lambda found: {name: 0 * one for name, one in found.items()}), "CORRUPT", "UNet is zero"),
    "fp8": (tensors(as_type(torch.float8_e4m3fn)), "UNSUPPORTED", "F8_E4M3"),
    "whole numbers": (tensors(as_type(torch.int8), "text_encoder"), "UNSUPPORTED", "I8"),
    "other widths": (
        tensors(lambda found: {name: one.repeat(*[1] * (one.dim() - 1), 2) for name, one in found.items()}),
        "CORRUPT",
        "other sizes",
    ),
    "text of another width": (configured("text_encoder/config.json", hidden_size=24), "UNSUPPORTED", "text of width"),
    "no scheduler": (gone("scheduler"), "INCOMPLETE", "has no scheduler"),
    "no scheduler's settings": (gone("scheduler/scheduler_config.json"), "INCOMPLETE", "scheduler .* configuration"),
    "scheduler's numbers": (configured("scheduler/scheduler_config.json", beta_start="x"), "CORRUPT", "scheduler's"),
    "growing signal": (configured("scheduler/scheduler_config.json", beta_start=-0.5), "CORRUPT", "scheduler's"),
    "fewer levels": (configured("scheduler/scheduler_config.json", trained_betas=[0.1]), "CORRUPT", "scheduler's"),
    "flow": (index(scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]), "UNSUPPORTED", "flow matching"),
    "LCM": (distilled, "UNSUPPORTED", r"distilled model \(LCM\)"),
    "LCM's scheduler": (index(scheduler=["diffusers", "LCMScheduler"]), "UNSUPPORTED", "distilled model"),
    "video": (index(unet=["diffusers", "UNetMotionModel"]), "UNSUPPORTED", "UNetMotionModel"),
    "AnimateDiff": (index(motion_adapter=["diffusers", "MotionAdapter"]), "UNSUPPORTED", "moving pictures"),
    "no index": (gone("model_index.json"), "MISSING", "not on this worker"),
    "no JSON": (text("model_index.json", "{"), "CORRUPT", "model_index.json is no JSON"),
    "deep JSON": (text("model_index.json", 99_999 * "["), "CORRUPT", "model_index.json is no JSON"),
    "a list": (text("model_index.json", "[]"), "CORRUPT", "model_index.json is no configuration"),
    "unknown class": (index(unet=["diffusers", "Nothing"]), "UNSUPPORTED", "Nothing as UNet"),
    "unknown library": (index(unet=["nothing", "Unet"]), "CORRUPT", "known library"),
    "no class": (index(vae=[None, None]), "INCOMPLETE", "has no autoencoder"),
    "text as class": (index(vae="x"), "CORRUPT", "known library"),
    "no settings": (gone("unet/config.json"), "INCOMPLETE", "UNet .* configuration"),
    "fewer layers": (configured("unet/config.json", layers_per_block=-1), "UNSUPPORTED", "does not know"),
    "wrong settings": (configured("text_encoder/config.json", num_hidden_layers="x"), "CORRUPT", "damaged"),
    "tokenizer": (text("tokenizer/tokenizer.json", "{"), "CORRUPT", "tokenizer.json is no JSON"),
}


def refused(files: BaseModelFiles, tmp_path: Path) -> EngineError:
    with pytest.raises(EngineError) as caught:
        load_family(files, torch.device("cpu"), torch.float32)
    error = caught.value
    assert error.user_error
    assert error.remedy
    for part in (str(tmp_path), tmp_path.name, "site-packages", "Error(", "<class"):
        assert part not in str(error)
    return error


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_damaged_or_foreign_folder_is_refused(base_model: BaseModelFiles, tmp_path: Path, kind: str) -> None:
    change, reason, words = FOLDERS[kind]
    folder = tmp_path / "base"
    shutil.copytree(base_model.source, folder)
    change(folder)
    error = refused(dataclasses.replace(base_model, source=str(folder)), tmp_path)
    assert error.reason == f"BASE_MODEL_{reason}"
    assert re.search(words, error.message), error.message


def without(part: str) -> Callable[[Tensors], Tensors]:
    return lambda found: {name: one for name, one in found.items() if part not in name}


LORA = {f"lora_unet_down_blocks_0.{name}": torch.ones(4, 4) for name in ("lora_down.weight", "lora_up.weight")}
MOTION = "model.diffusion_model.input_blocks.1.1.temporal_transformer.proj_in.weight"
CHECKPOINTS: dict[str, tuple[Callable[[Tensors], Any], str, str]] = {
    "no UNet": (without("diffusion_model"), "INCOMPLETE", "has no UNet"),
    "no autoencoder": (without("first_stage"), "INCOMPLETE", "has no autoencoder"),
    "no text encoder": (without("cond_stage"), "INCOMPLETE", "has no text encoder"),
    "half a UNet": (without("output_blocks.1.2.conv.bias"), "INCOMPLETE", "UNet .* lacks weights"),
    "LoRA": (lambda _: LORA, "UNSUPPORTED", "is a LoRA"),
    "ControlNet": (
        lambda found: {f"control_model.{name}": one for name, one in found.items()},
        "UNSUPPORTED",
        "is a ControlNet",
    ),
    "video": (lambda found: {**found, MOTION: torch.ones(3)}, "UNSUPPORTED", "moving pictures"),
    "NaN": (
        lambda found: {name: one * float("nan") if "time_embed.0" in name else one for name, one in found.items()},
        "CORRUPT",
        "not a number",
    ),
    "fp8": (as_type(torch.float8_e5m2), "UNSUPPORTED", "F8_E5M2"),
    "empty": (lambda _: b"", "CORRUPT", "checkpoint.safetensors is empty"),
    "GGUF": (lambda _: b"GGUF" + bytes(99), "UNSUPPORTED", "GGUF"),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_damaged_or_foreign_single_checkpoint_is_refused(
    base_model: BaseModelFiles, tmp_path: Path, kind: str
) -> None:
    change, reason, words = CHECKPOINTS[kind]
    path, config = write_single_file(Path(base_model.source), tmp_path / "single")
    content = change(load_file(path))
    path.write_bytes(content) if isinstance(content, bytes) else save_file(content, path)
    error = refused(dataclasses.replace(base_model, source=str(path), config_source=str(config)), tmp_path)
    assert error.reason == f"BASE_MODEL_{reason}"
    assert re.search(words, error.message), error.message


FLOWS = {"shift": 0, "base_shift": None, "max_shift": "1.15", "max_image_seq_len": 256, "base_image_seq_len": 1e999}


@pytest.mark.parametrize("key", FLOWS)
def test_a_flow_that_no_picture_can_be_shifted_by_is_refused(flux: BaseModelFiles, tmp_path: Path, key: str) -> None:
    folder = tmp_path / "base"
    shutil.copytree(flux.source, folder)
    configured("scheduler/scheduler_config.json", **{key: FLOWS[key]})(folder)
    error = refused(dataclasses.replace(flux, source=str(folder)), tmp_path)
    assert (error.reason, "scheduler's" in error.message) == ("BASE_MODEL_CORRUPT", True)


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFiles:
    return write_flux(tmp_path_factory.mktemp("flow") / "flux")


def test_other_files_and_families_are_refused_as_what_they_are(base_model: BaseModelFiles, tmp_path: Path) -> None:
    path, config = write_single_file(Path(base_model.source), tmp_path / "single")
    xl, flux = write_sdxl(tmp_path / "xl"), write_flux(tmp_path / "flux")
    one = dataclasses.replace(base_model, source=str(path), config_source=str(config))
    names = ("checkpoint.gguf", "checkpoint", "CHECKPOINT.SAFETENSORS", "CHECKPOINT.CKPT")
    copies = [shutil.copy(path, tmp_path / name) for name in names]
    for files, reason, words in (
        (dataclasses.replace(one, source=str(copies[0])), "UNSUPPORTED", "GGUF"),
        (dataclasses.replace(one, source=str(copies[1])), "UNSUPPORTED", "neither a folder"),
        (dataclasses.replace(one, source=str(copies[2])), "UNSUPPORTED", "whose name ends in .safetensors"),
        (dataclasses.replace(one, source=str(copies[3])), "UNSAFE", "CHECKPOINT.CKPT"),
        (dataclasses.replace(one, config_source=str(tmp_path / "nowhere")), "INCOMPLETE", "configuration"),
        (dataclasses.replace(xl, source=str(path), config_source=xl.source), "UNSUPPORTED", "text of width 16"),
        (dataclasses.replace(flux, source=str(path), config_source=flux.source), "INCOMPLETE", "has no transformer"),
        (dataclasses.replace(base_model, source=xl.source), "UNSUPPORTED", "is no model of Stable Diffusion 1"),
        (dataclasses.replace(flux, source=base_model.source), "UNSUPPORTED", "has a unet as denoiser"),
    ):
        error = refused(files, tmp_path)
        assert error.reason == f"BASE_MODEL_{reason}"
        assert words in error.message


def test_a_model_behind_links_loads(base_model: BaseModelFiles, tmp_path: Path) -> None:
    """As hub caches lay models out, and operators with several disks."""
    folder = tmp_path / "base"
    shutil.copytree(base_model.source, tmp_path / "disk")
    folder.mkdir()
    for place in (tmp_path / "disk").iterdir():
        (folder / place.name).symlink_to(place)
    load_family(dataclasses.replace(base_model, source=str(folder)), torch.device("cpu"), torch.float32)
