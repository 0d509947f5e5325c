"""Exported files give the live model back, whatever the adapter; a file that does not is refused."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from services.trainer.engine.errors import EngineError
from services.trainer.engine.export import write_artifacts
from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import ArtifactFile, BaseModelFiles, TrainJobSpec
from services.trainer.engine.lora import add_adapters, trained_weights
from services.trainer.engine.metadata import RunFacts, lora_metadata
from services.trainer.engine.safetensors_bytes import safetensors_bytes
from services.trainer.engine.verification import Probe, twin_of, verify_artifacts
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import PictureSize, plan_job

Export = Callable[..., tuple[tuple[ArtifactFile, ...], Family, dict[str, nn.Module], TrainingParameters]]
CAPTIONS = ("zwx", "a dog")


def probe(family: Family) -> Probe:
    torch.manual_seed(5)
    return Probe(torch.randn(2, 4, 8, 8), torch.tensor([200, 700]), CAPTIONS)


@pytest.fixture(scope="module")
def loaded(base_model: BaseModelFiles) -> Family:
    return load_family(base_model, torch.device("cpu"), torch.float32)


@pytest.fixture
def export(loaded: Family, parameters: Callable[..., TrainingParameters], tmp_path: Path) -> Export:
    """Adapters with weights far from zero, written to files."""

    def write(**changes: Any) -> Any:
        chosen = parameters(**changes)
        family = copy.deepcopy(loaded)
        carriers = add_adapters(family, chosen)
        torch.manual_seed(3)
        for weight in trained_weights(carriers).values():
            weight.data += torch.randn_like(weight) * 0.05
        return write_artifacts(tmp_path, "x", family, carriers, chosen, {"ss_epoch": "1"}), family, carriers, chosen

    return write


ADAPTERS = ("lora", "rslora", "dora", "loha", "lokr")


@pytest.mark.parametrize(("adapter", "targets"), [("lora", "attention"), *((adapter, "all") for adapter in ADAPTERS)])
def test_a_file_gives_the_live_model_back(export: Export, adapter: str, targets: str) -> None:
    text = adapter in ("lora", "rslora", "dora")
    artifacts, family, carriers, chosen = export(adapter=adapter, target_modules=targets, train_text_encoder=text)
    base = {name: twin_of(module) for name, module in carriers.items()}
    untouched = probe(family).answer(family.with_components(base))
    assert (untouched - probe(family).answer(family)).abs().max() > 0.01
    assert verify_artifacts(artifacts, family, carriers, chosen, probe(family)) < 1e-4
    assert [artifact.form for artifact in artifacts] == (["kohya", "diffusers"] if text else ["kohya"])


@pytest.mark.parametrize(("form", "ending"), [(0, "alpha"), (0, "lora_up.weight"), (1, "lora_B.weight")])
def test_a_file_that_lost_something_is_refused(export: Export, form: int, ending: str) -> None:
    artifacts, family, carriers, chosen = export()
    path = artifacts[form].path
    tensors = load_file(path)
    with safe_open(path, "pt") as opened:
        metadata = opened.metadata()
    hit = [key for key in tensors if key.endswith(ending)]
    assert hit
    save_file({key: tensor * 0.5 if key in hit else tensor for key, tensor in tensors.items()}, path, metadata)
    with pytest.raises(EngineError) as caught:
        verify_artifacts((artifacts[form],), family, carriers, chosen, probe(family))
    assert caught.value.reason == "EXPORT_MISMATCH"


def test_kohya_names_are_the_ones_that_other_tools_look_for(export: Export) -> None:
    artifacts, *_ = export(train_text_encoder=True)
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
    assert plan.held_out == 7
    metadata = lora_metadata(spec, RunFacts("0" * 64, plan.buckets, plan.steps, "session"), 1, 3)
    counts = json.loads(metadata["ss_tag_frequency"])["ball"]
    assert counts == {"zwx": 6, "a ball": 6, "grass": 1, "a photo of zwx.": 1}
    assert json.loads(metadata["ss_dataset_dirs"])["ball"]["img_count"] == 7


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
