"""Names, metadata and bytes of exported files. That they hold what was trained: test_verification.py."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from services.trainer.engine.export import write_artifacts
from services.trainer.engine.families import load_family
from services.trainer.engine.job import BaseModelFiles, TrainJobSpec
from services.trainer.engine.lora import add_adapters
from services.trainer.engine.metadata import RunFacts, lora_metadata
from services.trainer.engine.safetensors_bytes import safetensors_bytes
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import PictureSize, plan_job


def test_kohya_names_are_the_ones_that_other_tools_look_for(
    base_model: BaseModelFiles, parameters: Callable[..., TrainingParameters], tmp_path: Path
) -> None:
    family = load_family(base_model, torch.device("cpu"), torch.float32)
    chosen = parameters(train_text_encoder=True)
    artifacts = write_artifacts(tmp_path, "x", family, add_adapters(family, chosen), chosen, {})
    tensors = load_file(artifacts[0].path)
    for module in (
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_ff_net_0_proj",
        "lora_unet_mid_block_resnets_0_conv1",
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        "lora_te_text_model_encoder_layers_1_mlp_fc1",
    ):
        assert tensors[f"{module}.lora_down.weight"].shape[0] == 2
        assert tensors[f"{module}.lora_up.weight"].shape[1] == 2
        assert tensors[f"{module}.alpha"].item() == 4.0


def test_metadata_is_text_and_tells_what_readers_look_at(make_spec: Callable[..., TrainJobSpec]) -> None:
    spec = make_spec()
    plan = plan_job([PictureSize(48, 48)] * 3, spec.parameters, 4)
    metadata = lora_metadata(spec, RunFacts("0" * 64, plan.buckets, plan.steps, "session"), 1, 3)
    assert all(isinstance(value, str) for value in metadata.values())
    assert metadata["ss_network_dim"] == "2"
    assert metadata["ss_network_alpha"] == "4.0"
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert json.loads(metadata["ss_tag_frequency"]) == {
        "ball": {"zwx": 3, "a red ball": 1, "a green ball": 1, "a blue ball": 1}
    }
    assert json.loads(metadata["ss_bucket_info"])["buckets"]["0"]["count"] == 6
    assert "modelspec.date" not in metadata


def test_the_tag_frequency_counts_the_parts_of_trained_texts(make_spec: Callable[..., TrainJobSpec]) -> None:
    captions = ("zwx, a ball", "zwx, a ball, grass, grass", "a photo of zwx.", *["zwx, a ball"] * 4, "zwx, held out")
    spec = make_spec()
    items = tuple(dataclasses.replace(spec.items[0], caption=caption) for caption in captions)
    spec = dataclasses.replace(spec, items=items)
    plan = plan_job([PictureSize(48, 48)] * len(items), spec.parameters, 4)
    assert plan.held_out == (7,)
    metadata = lora_metadata(spec, RunFacts("0" * 64, plan.buckets, plan.steps, "session"), 1, 3)
    counts = json.loads(metadata["ss_tag_frequency"])["ball"]
    assert counts == {"zwx": 6, "a ball": 6, "grass": 1, "a photo of zwx.": 1}
    assert json.loads(metadata["ss_dataset_dirs"])["ball"]["img_count"] == 7


@pytest.mark.parametrize(
    ("own", "dirs"),
    [
        ((5, 5, 5), {"ball": (10, 3)}),
        ((1, 3, 3), {"2_ball": (2, 1), "6_ball": (6, 2)}),
    ],
)
def test_repeats_of_pictures_are_told_as_they_are_trained(
    make_spec: Callable[..., TrainJobSpec], own: tuple[int, ...], dirs: dict[str, tuple[int, int]]
) -> None:
    spec = make_spec(num_repeats=2)
    plan = plan_job([PictureSize(48, 48, repeats=repeats) for repeats in own], spec.parameters, 4)
    metadata = lora_metadata(spec, RunFacts("0" * 64, plan.buckets, plan.steps, "session"), 1, 3)
    told = json.loads(metadata["ss_dataset_dirs"])
    assert {name: (each["n_repeats"], each["img_count"]) for name, each in told.items()} == dirs
    trained = sum(each["n_repeats"] * each["img_count"] for each in told.values())
    assert str(trained) == metadata["ss_num_train_images"]
    frequency = json.loads(metadata["ss_tag_frequency"])
    assert frequency.keys() == told.keys()
    assert sum(counts["zwx"] for counts in frequency.values()) == 3


def test_equal_content_gives_equal_bytes_that_the_library_reads(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(3.0), "a": torch.ones(2, 2, dtype=torch.float16)}
    metadata = {f"key {number}": "ü" * number for number in range(20)}
    data = safetensors_bytes(tensors, metadata)
    assert data == safetensors_bytes(dict(reversed(tensors.items())), dict(reversed(metadata.items())))
    path = tmp_path / "file.safetensors"
    path.write_bytes(data)
    loaded = load_file(path)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == metadata
