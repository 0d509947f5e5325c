"""A base model in fewer bits, by bitsandbytes: 8-bit (Dettmers et al. 2022) or NF4 (QLoRA, Dettmers et al. 2023).

Only the linear layers of the denoiser's blocks are quantised; its convolutions, its first and last layers and its time
embedding keep their number format, and so does the adapter. The layers are replaced here rather than by diffusers'
loader, which refuses to without a GPU and reads no single checkpoint that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

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
        quantize_layers(denoiser, blocks, denoiser, device, dtype, quantization)
        # PEFT asks these which kind of layers it may meet.
        denoiser.is_loaded_in_8bit, denoiser.is_loaded_in_4bit = quantization == "int8", quantization == "nf4"
    return denoiser.to(device, dtype, memory_format=layout)


def quantize_layers(
    denoiser: Any, names: Sequence[str], part: nn.Module, device: torch.device, dtype: torch.dtype, quantization: str
) -> None:
    """Put quantised layers, on ``device``, in the place of the linear ones of these names inside a part."""
    inside = {id(layer) for layer in part.modules()}
    for name in names:
        layer = denoiser.get_submodule(name)
        if type(layer) is nn.Linear and id(layer) in inside:
            denoiser.set_submodule(name, _quantized(layer, device, dtype, quantization))


def is_int8(layer: nn.Module) -> bool:
    """Whether a layer is quantised to 8 bits; its weight then has a second name, ``state.CB``."""
    return type(layer).__name__ == "Linear8bitLt"


def whole_weight(layer: Any, device: torch.device) -> Tensor:
    """A frozen layer's weight in float32 on ``device``, also of one that is quantised or waits in host memory."""
    kept = layer.weight
    data = kept.data
    if data.device != device:
        kept.data = data.to(device)
    try:
        weight: Tensor = dequantize_module_weight(layer).detach().float()
        return weight
    finally:
        # On a CPU PEFT leaves another object behind, without the scales of 8 bits.
        kept.data = data
        layer.weight = kept


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
    moved: Any = replaced.to(device, dtype).requires_grad_(False).eval()
    if quantization == "int8":
        # What its first answer would do.
        moved.init_8bit_state()
    quantized: nn.Module = moved
    return quantized


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
