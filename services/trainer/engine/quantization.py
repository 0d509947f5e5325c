"""A base model in fewer bits, by bitsandbytes: 8-bit (Dettmers et al. 2022) or NF4 (QLoRA, Dettmers et al. 2023).

Only the linear layers of the denoiser's blocks are quantised; its convolutions, its first and last layers and its time
embedding keep their number format, and so does the adapter. The layers are replaced here rather than by diffusers'
loader, which refuses to without a GPU and reads no single checkpoint that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from services.trainer.engine.errors import EngineError


def check_quantization(quantization: str) -> None:
    """Fail before gigabytes are read.

    Raises:
        EngineError: QUANTIZATION_UNAVAILABLE when bitsandbytes is not installed on this worker.
    """
    if quantization != "none":
        _library()


def place_denoiser(
    denoiser: Any,
    blocks: Sequence[str],
    device: torch.device,
    dtype: torch.dtype,
    quantization: str,
    layout: torch.memory_format = torch.preserve_format,
) -> Any:
    """Freeze a denoiser and move it to ``device``, its blocks quantised on request.

    Layer by layer, so that the device never holds the whole model in full precision.

    Args:
        blocks: names of the modules that may be quantised; those that are not linear are left alone.
    """
    denoiser.requires_grad_(False).eval()
    if quantization != "none":
        for name in blocks:
            layer = denoiser.get_submodule(name)
            if type(layer) is nn.Linear:
                denoiser.set_submodule(name, _quantized(layer, device, dtype, quantization))
        # PEFT asks these which kind of layers it may meet.
        denoiser.is_loaded_in_8bit, denoiser.is_loaded_in_4bit = quantization == "int8", quantization == "nf4"
    return denoiser.to(device, dtype, memory_format=layout)


def quantized_layers(module: nn.Module) -> dict[str, nn.Module]:
    """The quantised layers of a component by the name that they had before an adapter wrapped them."""
    names = ("Linear4bit", "Linear8bitLt")
    return {
        name.removesuffix(".base_layer"): layer
        for name, layer in module.named_modules()
        if type(layer).__name__ in names and type(layer).__module__.startswith("bitsandbytes.")
    }


def _quantized(layer: nn.Linear, device: torch.device, dtype: torch.dtype, quantization: str) -> nn.Module:
    library = _library()
    size = layer.in_features, layer.out_features
    replaced: Any
    if quantization == "nf4":
        replaced = library.Linear4bit(*size, bias=layer.bias is not None, compute_dtype=dtype, quant_type="nf4")
    else:
        replaced = library.Linear8bitLt(*size, bias=layer.bias is not None, has_fp16_weights=False)
    # On some CPUs the first answer without gradients packs the weights anew, for layers of certain sizes and for
    # nothing but answering; training goes on with these very weights.
    replaced.support_avx512bf16_for_cpu = False
    weights = {name: value.to(dtype) for name, value in layer.state_dict().items()}
    replaced.load_state_dict(weights)
    moved: nn.Module = replaced.to(device, dtype).requires_grad_(False).eval()
    return moved


def _library() -> Any:
    try:
        import bitsandbytes.nn
    except ImportError as error:
        raise EngineError(
            "QUANTIZATION_UNAVAILABLE",
            "This worker has no bitsandbytes, which a quantised base model needs.",
            "Set base_quantization to none, or install fiveshot[quantized] on the workers.",
        ) from error
    return bitsandbytes.nn
