"""What a file is, told from its beginning: every kind of wrong file is refused by name before it is sent."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from services.trainer.recipe.checkpoint_header import LONGEST_HEADER, NotACheckpoint, read_header

SD = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
UNET = "model.diffusion_model.input_blocks.0.0.weight"


def file_of(header: Any, body: int = 0) -> tuple[bytes, int]:
    """The beginning of a file with this header, and the size of the whole."""
    text = json.dumps(header).encode()
    head = struct.pack("<Q", len(text)) + text
    return head, len(head) + body


def tensors(*names: str, dtype: str = "F16", width: int = 2) -> dict[str, Any]:
    """A header in which each has four numbers."""
    size = 4 * width
    return {
        name: {"dtype": dtype, "shape": [2, 2], "data_offsets": [place * size, (place + 1) * size]}
        for place, name in enumerate(names)
    }


def test_families_and_number_format_are_found_in_the_header() -> None:
    head, size = file_of({"__metadata__": {"format": "pt"}, **tensors(UNET, SD)}, 16)
    found = read_header(head + b"\0" * 16, size)
    assert (found.size_bytes, found.families, found.precision) == (len(head), ("stable-diffusion",), "fp16")
    sdxl = tensors("conditioner.embedders.0.transformer.text_model.final_layer_norm.weight", dtype="F32", width=4)
    assert read_header(*file_of(sdxl, 16)).families == ("sdxl",)
    flux = tensors("model.diffusion_model.double_blocks.0.img_mod.lin.weight", dtype="BF16")
    assert read_header(*file_of(flux, 8)).precision == "bf16"


@pytest.mark.parametrize(
    ("name", "families"),
    [
        ("model.diffusion_model.double_blocks.0.img_mod.lin.weight", ("flux",)),
        ("double_stream_modulation_img.lin.weight", ("flux2-dev", "flux2-klein")),
        ("model.diffusion_model.distilled_guidance_layer.in_proj.weight", ("chroma",)),
        ("model.diffusion_model.joint_blocks.0.x_block.attn.ln_q.weight", ("sd3",)),
        ("model.diffusion_model.transformer_blocks.0.txt_mod.1.weight", ("qwen-image",)),
        ("model.diffusion_model.noise_refiner.0.attention.qkv.weight", ("z-image",)),
    ],
)
def test_transformers_are_told_apart_by_the_names_of_their_layers(name: str, families: tuple[str, ...]) -> None:
    shared = tensors("double_blocks.0.img_attn.qkv.weight", name, dtype="BF16")
    assert tuple(sorted(read_header(*file_of(shared, 16)).families)) == families


def test_numbers_beside_the_weights_may_be_whole() -> None:
    header = tensors(SD)
    header["cond_stage_model.position_ids"] = {"dtype": "I64", "shape": [1], "data_offsets": [8, 16]}
    assert read_header(*file_of(header, 16)).precision == "fp16"


HEAD, SIZE = file_of(tensors(UNET, SD), 16)
LORA = file_of(tensors("lora_unet_down.lora_down.weight", SD), 16)
OTHER = {"dtype": "F16", "shape": [2, 2]}
WRONG: dict[str, tuple[bytes, int, str, str]] = {
    "pickle in a zip": (b"PK\x03\x04" + b"\0" * 60, 100, "UNSAFE", "pickle"),
    "old pickle": (b"\x80\x02}q\x00" + b"\0" * 60, 100, "UNSAFE", "pickle"),
    "GGUF": (b"GGUF\x03\0\0\0" + b"\0" * 60, 100, "UNSUPPORTED", "GGUF"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", 130, "CORRUPT", "Git LFS"),
    "web page": (b"<!DOCTYPE html><html>", 100, "CORRUPT", "web page"),
    "noise": (b"\x07" * 64, 100, "UNSUPPORTED", "no safetensors"),
    "text": (b"hello", 5, "UNSUPPORTED", "no safetensors"),
    "huge header": (struct.pack("<Q", LONGEST_HEADER + 1) + b"{", 10**9, "CORRUPT", "bytes"),
    "cut within its header": (HEAD, len(HEAD) - 1, "CORRUPT", "within its header"),
    "cut behind its header": (HEAD, SIZE - 1, "CORRUPT", "cut short"),
    "too long": (HEAD, SIZE + 1, "CORRUPT", "longer"),
    "too little of the header": (HEAD[:-1], SIZE, "HEADER_INCOMPLETE", f"{len(HEAD)} bytes"),
    "broken JSON": (struct.pack("<Q", 4) + b"{{{{", 12, "CORRUPT", "cannot be read"),
    "deep JSON": (struct.pack("<Q", 200_000) + b'{"a":' + b"[" * 199_995, 10**6, "CORRUPT", "cannot be read"),
    "no tensors": (*file_of({"__metadata__": {}}), "CORRUPT", "lists 0"),
    "a list": (struct.pack("<Q", 3) + b"{ }", 11, "CORRUPT", "lists 0"),
    "no shape": (*file_of({SD: {"dtype": "F16", "data_offsets": [0, 8]}}, 8), "CORRUPT", "nothing usable"),
    "kind that is a list": (
        *file_of({SD: {**OTHER, "dtype": [], "data_offsets": [0, 8]}}, 8),
        "CORRUPT", "nothing usable",
    ),
    "kind of half a letter": (
        *file_of({SD: {**OTHER, "dtype": "\ud800", "data_offsets": [0, 8]}}, 8),
        "CORRUPT", "nothing usable",
    ),
    "negative": (*file_of({SD: {**OTHER, "data_offsets": [-8, 0]}}), "CORRUPT", "impossible"),
    "true": (*file_of({SD: {"dtype": "F16", "shape": [True], "data_offsets": [0, 2]}}, 2), "CORRUPT", "impossible"),
    "other bytes than its shape": (*file_of({SD: {**OTHER, "data_offsets": [0, 9]}}, 9), "CORRUPT", "other bytes"),
    "gap": (*file_of({SD: {**OTHER, "data_offsets": [8, 16]}}, 16), "CORRUPT", "gaps"),
    "overlap": (
        *file_of({SD: {**OTHER, "data_offsets": [0, 8]}, UNET: {**OTHER, "data_offsets": [4, 12]}}, 12),
        "CORRUPT", "gaps",
    ),
    "quantised": (*file_of(tensors(UNET, SD, dtype="F8_E4M3", width=1), 8), "UNSUPPORTED", "F8_E4M3"),
    "whole weights": (*file_of(tensors(UNET, SD, dtype="I8", width=1), 8), "UNSUPPORTED", "I8"),
    "control character in a name": (*file_of(tensors("a\nb"), 8), "CORRUPT", "name"),
    "a LoRA": (*LORA, "UNSUPPORTED", "LoRA"),
    "a ControlNet": (*file_of(tensors("control_model.a.weight"), 8), "UNSUPPORTED", "ControlNet"),
    "a language model": (*file_of(tensors("model.layers.0.mlp.weight"), 8), "UNSUPPORTED", "no model that can"),
}  # fmt: skip


@pytest.mark.parametrize(("head", "size", "reason", "word"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_none_is_refused_by_name(head: bytes, size: int, reason: str, word: str) -> None:
    with pytest.raises(NotACheckpoint) as refused:
        read_header(head, size)
    assert refused.value.reason == f"BASE_MODEL_{reason}"
    assert word in str(refused.value)
    assert refused.value.remedy.endswith(".")


def test_no_beginning_of_a_right_file_crashes_the_check() -> None:
    for length in range(len(HEAD)):
        with pytest.raises(NotACheckpoint):
            read_header(HEAD[:length], SIZE)
