"""LoRA layers whose second matrix, scale and sum are one operation, and whose input is not cast.

PEFT multiplies by B, then by the scale, then adds to the base's answer: three passes over activations of full width,
where a matrix product can add to what is there already. A convolution's B is of one pixel and so is a matrix as well.
Under autocast PEFT casts each input to the float32 of its matrices, from which autocast casts it back. The result is
PEFT's up to the rounding of sums; each epoch compares it with plainly changed weights (see ``verification``).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from peft.tuners.lora.layer import Conv2d, Linear
from torch import Tensor, nn

from services.trainer.engine.lora import ADAPTER_NAME


class FusedLinear(Linear):  # type: ignore[misc]
    """PEFT's layer over ``nn.Linear`` with one plain adapter, in fewer operations."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.disable_adapters or self.merged:
            plain: Tensor = super().forward(x, *args, **kwargs)
            return plain
        answer: Tensor = self.base_layer(x)
        low = functional.linear(x, self.lora_A[ADAPTER_NAME].weight)
        rows, weight = answer.reshape(-1, answer.shape[-1]), self.lora_B[ADAPTER_NAME].weight
        added = torch.addmm(rows, low.reshape(-1, low.shape[-1]), weight.t(), alpha=self.scaling[ADAPTER_NAME])
        return added.view(answer.shape)


class FusedConv2d(Conv2d):  # type: ignore[misc]
    """The same over ``nn.Conv2d``. Channels-last activations are rows of pixels already, so nothing is copied."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.disable_adapters or self.merged:
            plain: Tensor = super().forward(x, *args, **kwargs)
            return plain
        answer: Tensor = self.base_layer(x).permute(0, 2, 3, 1)
        low = self.lora_A[ADAPTER_NAME](x).permute(0, 2, 3, 1)
        rows, weight = answer.reshape(-1, answer.shape[-1]), self.lora_B[ADAPTER_NAME].weight.flatten(1)
        added = torch.addmm(rows, low.reshape(-1, low.shape[-1]), weight.t(), alpha=self.scaling[ADAPTER_NAME])
        return added.view(answer.shape).permute(0, 3, 1, 2)


_FUSED = {Linear: FusedLinear, Conv2d: FusedConv2d}


def fuse_lora(component: nn.Module) -> int:
    """Turn a component's plain LoRA layers into fused ones; others (DoRA, quantised bases) stay PEFT's.

    Returns:
        How many were turned.
    """
    turned = 0
    for module in component.modules():
        layer: Any = module
        fused = _FUSED.get(type(layer))
        if fused is None or layer.lora_variant or not _one_pixel(layer.lora_B[ADAPTER_NAME]):
            continue
        # Its weights, hooks and place in the model are those of PEFT's layer; only what a call does is another.
        layer.__class__ = fused
        turned += 1
    return turned


def _one_pixel(matrix: nn.Module) -> bool:
    return not isinstance(matrix, nn.Conv2d) or (matrix.kernel_size == (1, 1) and matrix.groups == 1)
