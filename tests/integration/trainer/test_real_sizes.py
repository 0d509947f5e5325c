"""The published models' layouts, without their weights: which modules get an adapter and what their keys are called."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from diffusers.loaders.single_file_utils import (
    convert_chroma_transformer_checkpoint_to_diffusers,
    convert_flux_transformer_checkpoint_to_diffusers,
)
from diffusers.utils import convert_unet_state_dict_to_peft
from torch import nn

from services.trainer.engine.families.base import Family
from tests.fixtures.real_sizes import PARAMETERS, real_size
from tests.readers.original import flux_places


@functools.cache
def layout(name: str) -> tuple[Family, Any]:
    return real_size(name, torch.device("meta"), torch.bfloat16)


def module(family: Family, component: str, name: str) -> nn.Module:
    return family.components[component].get_submodule(name)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_layout_is_the_published_one(name: str) -> None:
    family, parts = layout(name)
    for component, count in PARAMETERS[name].items():
        assert sum(weight.numel() for weight in getattr(parts, component).parameters()) == count, component
    assert family.latent_factor == 8
    assert family.pixel_multiple == {"sd-1.5": 64, "sdxl": 32}.get(name, 16)


@pytest.mark.parametrize(
    ("name", "component", "preset", "count"),
    [
        # Four projections of each attention, two attentions in each of 16 and 70 blocks.
        ("sd-1.5", "unet", "attention", 128),
        ("sdxl", "unet", "attention", 560),
        # sd-scripts counts these when it creates a LoRA: U-Net 192 and 722, text encoders 72, and 72 and 192.
        ("sd-1.5", "unet", "attention_ff", 192),
        ("sd-1.5", "text_encoder", "attention_ff", 72),
        ("sdxl", "unet", "attention_ff", 722),
        # Six of its 72 lie in the last layer, whose output SDXL does not read.
        ("sdxl", "text_encoder", "attention_ff", 66),
        ("sdxl", "text_encoder_2", "attention_ff", 192),
        # Eight projections of 19 double blocks, three of 38 single ones.
        ("flux-dev", "transformer", "attention", 19 * 8 + 38 * 3),
        ("flux-dev", "transformer", "attention_ff", 19 * 12 + 38 * 5),
        # Eight projections of five double blocks, one layer before and one behind the attention of 20 single ones.
        ("flux2-klein-4b", "transformer", "attention", 5 * 8 + 20),
        ("flux2-klein-4b", "transformer", "attention_ff", 5 * 12 + 20 * 2),
        # Eight projections of 60 blocks, four feed-forward layers, two modulations; four of the last have no part.
        ("qwen-image", "transformer", "attention", 60 * 8 - 2),
        ("qwen-image", "transformer", "attention_ff", 60 * 12 - 4),
        ("qwen-image", "transformer", "all", 60 * 14 - 4),
        # Four projections and three feed-forward layers of 30 blocks, the modulation of each beside them in all.
        ("z-image", "transformer", "attention", 30 * 4),
        ("z-image", "transformer", "attention_ff", 30 * 7),
        ("z-image", "transformer", "all", 30 * 8),
        # As FLUX.1; its blocks hold nothing else.
        ("chroma", "transformer", "attention", 19 * 8 + 38 * 3),
        ("chroma", "transformer", "all", 19 * 12 + 38 * 5),
        # Eight projections, four in a second attention of 13 blocks; the last block has neither the query nor the
        # answer of its text.
        ("sd-3.5-medium", "transformer", "attention", 24 * 8 + 13 * 4 - 2),
        ("sd-3.5-medium", "transformer", "attention_ff", 24 * 12 + 13 * 4 - 4),
        ("sd-3.5-large", "transformer", "attention", 38 * 8 - 2),
        # Two modulations, of picture and text, but for the last one's text.
        ("sd-3.5-large", "transformer", "all", 38 * 14 - 5),
        ("sd-3.5-medium", "text_encoder", "attention_ff", 72),
        ("sd-3.5-medium", "text_encoder_2", "attention_ff", 192),
    ],
)
def test_the_number_of_adapted_modules_is_the_known_one(name: str, component: str, preset: str, count: int) -> None:
    family, _ = layout(name)
    targets = family.targets(component, preset)
    assert len(targets) == len(set(targets)) == count
    assert all(isinstance(module(family, component, target), (nn.Linear, nn.Conv2d)) for target in targets)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "sd-1.5",
            [
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
                "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj",
                "lora_unet_up_blocks_3_attentions_2_proj_out",
                "lora_te_text_model_encoder_layers_11_mlp_fc2",
            ],
        ),
        (
            "sdxl",
            [
                "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
                "lora_unet_input_blocks_8_1_transformer_blocks_9_ff_net_2",
                "lora_unet_middle_block_1_proj_out",
                "lora_unet_output_blocks_5_1_transformer_blocks_1_attn2_to_out_0",
                "lora_te1_text_model_encoder_layers_10_self_attn_q_proj",
                "lora_te2_text_model_encoder_layers_31_self_attn_out_proj",
            ],
        ),
        (
            "flux-dev",
            [
                "lora_transformer_transformer_blocks_18_attn_add_k_proj",
                "lora_transformer_single_transformer_blocks_37_proj_mlp",
                "lora_transformer_single_transformer_blocks_0_attn_to_v",
            ],
        ),
        (
            "flux2-klein-4b",
            [
                "lycoris_transformer_blocks_4_ff_context_linear_in",
                "lycoris_single_transformer_blocks_19_attn_to_qkv_mlp_proj",
                "lycoris_single_transformer_blocks_0_attn_to_out",
            ],
        ),
        (
            "qwen-image",
            [
                "lora_unet_transformer_blocks_0_attn_add_q_proj",
                "lora_unet_transformer_blocks_59_img_mlp_net_0_proj",
                "lora_unet_transformer_blocks_59_attn_add_k_proj",
            ],
        ),
        (
            "z-image",
            ["lycoris_layers_29_attention_to_out_0", "lycoris_layers_0_feed_forward_w2"],
        ),
        (
            "chroma",
            [
                "lora_transformer_transformer_blocks_18_attn_add_k_proj",
                "lora_transformer_single_transformer_blocks_37_proj_mlp",
            ],
        ),
        (
            "sd-3.5-medium",
            [
                "lora_transformer_transformer_blocks_12_attn2_to_out_0",
                "lora_transformer_transformer_blocks_23_attn_add_v_proj",
                "lora_te1_text_model_encoder_layers_11_mlp_fc2",
                "lora_te2_text_model_encoder_layers_31_self_attn_out_proj",
            ],
        ),
    ],
)
def test_keys_are_the_ones_that_readers_look_for(name: str, keys: list[str]) -> None:
    family, _ = layout(name)
    written = [
        family.kohya_name(component, target)
        for component in family.components
        for target in family.targets(component, "all")
    ]
    assert len(written) == len(set(written))
    assert set(keys) <= set(written)


@pytest.mark.parametrize(
    ("model", "convert"),
    [
        ("chroma", convert_chroma_transformer_checkpoint_to_diffusers),
        ("flux-dev", convert_flux_transformer_checkpoint_to_diffusers),
    ],
)
def test_a_single_file_is_converted_to_the_layout_that_is_trained(
    model: str, convert: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """At its real width, which the library's conversion assumes; its path is that of every transformer shared alone."""
    family, _ = layout(model)
    own = {name: tensor.shape for name, tensor in family.denoiser.state_dict().items()}
    modules = [name.rpartition(".")[0] for name in own]
    places = flux_places(family.denoiser.config, modules)
    parts: dict[str, list[torch.Size]] = {}
    for name, shape in own.items():
        module, _, kind = name.rpartition(".")
        place = places[module].weight if module in places else _original_flux_name(module)
        parts.setdefault(f"{place}.{'scale' if '.norm_' in module or 'norms.' in module else kind}", []).append(shape)
    original = {
        name: torch.empty(sum(shape[0] for shape in shapes), *shapes[0][1:], device="meta")
        for name, shapes in parts.items()
    }
    converted = convert(original)
    assert {name: tensor.shape for name, tensor in converted.items()} == own


def _original_flux_name(module: str) -> str:
    for pattern, replacement in (
        (r"^x_embedder", "img_in"),
        (r"^context_embedder", "txt_in"),
        (r"^proj_out", "final_layer.linear"),
        (r"^single_transformer_blocks\.(\d+)\.attn\.norm_q", r"single_blocks.\1.norm.query_norm"),
        (r"^single_transformer_blocks\.(\d+)\.attn\.norm_k", r"single_blocks.\1.norm.key_norm"),
        (r"^transformer_blocks\.(\d+)\.attn\.norm_q", r"double_blocks.\1.img_attn.norm.query_norm"),
        (r"^transformer_blocks\.(\d+)\.attn\.norm_k", r"double_blocks.\1.img_attn.norm.key_norm"),
        (r"^transformer_blocks\.(\d+)\.attn\.norm_added_q", r"double_blocks.\1.txt_attn.norm.query_norm"),
        (r"^transformer_blocks\.(\d+)\.attn\.norm_added_k", r"double_blocks.\1.txt_attn.norm.key_norm"),
        (r"^time_text_embed\.timestep_embedder\.", "time_in."),
        (r"^time_text_embed\.text_embedder\.", "vector_in."),
        (r"^time_text_embed\.guidance_embedder\.", "guidance_in."),
        (r"_in\.linear_1$", "_in.in_layer"),
        (r"_in\.linear_2$", "_in.out_layer"),
        (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
        (r"^(distilled_guidance_layer\.layers\.\d+)\.linear_1", r"\1.in_layer"),
        (r"^(distilled_guidance_layer\.layers\.\d+)\.linear_2", r"\1.out_layer"),
    ):
        module = re.sub(pattern, replacement, module)
    return module


@pytest.mark.parametrize("name", ["sd-1.5", "sdxl"])
def test_diffusers_reads_every_key_back_as_its_module(name: str) -> None:
    """Also the convolutions; all keys at once, as they stand in a file."""
    family, parts = layout(name)
    tensors = {}
    targets = family.targets("unet", "all")
    for target in targets:
        key = family.kohya_name("unet", target)
        for ending, value in (("lora_down.weight", 1.0), ("lora_up.weight", 1.0), ("alpha", 1.0)):
            tensors[f"{key}.{ending}"] = torch.tensor(value) if ending == "alpha" else torch.ones(1, 1)
    if name == "sdxl":
        tensors = _maybe_map_sgm_blocks_to_diffusers(tensors, parts.unet.config)
    found, _ = _convert_non_diffusers_lora_to_diffusers(tensors)
    read = convert_unet_state_dict_to_peft({key.removeprefix("unet."): tensor for key, tensor in found.items()})
    assert {key.partition(".lora_")[0] for key in read} == set(targets)
    assert len(read) == 2 * len(targets)
