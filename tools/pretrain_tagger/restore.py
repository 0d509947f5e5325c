"""Makes a trainable network of an exported one, so that training can go on from the shipped file.

An export has folded each normalisation into the convolution before it. Unfolded here with the statistics of drawn
pictures, the network gives the answers of the file and learns as before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tools.pretrain_tagger.data import read_blocks
from tools.pretrain_tagger.network import DrawnTagger
from tools.pretrain_tagger.train import WEIGHTS

_HALF = ".half"
_FOLDED = "onnx::Conv_"
_PREFIX = "network."
_PICTURES = 1000


def restore(folder: Path, source: Path) -> None:
    """Reads model.onnx of `source` and a block of `folder`, and writes WEIGHTS there."""
    examples = read_blocks(folder, count=2)
    pictures = torch.from_numpy(examples.pictures[:_PICTURES]).permute(0, 3, 1, 2).float() / 255
    folder.mkdir(parents=True, exist_ok=True)
    save_file(unfolded(source / "model.onnx", pictures).state_dict(), folder / WEIGHTS)


def unfolded(path: Path, pictures: Tensor) -> DrawnTagger:
    """The network of an export; pictures: float (n, 3, side, side) of the kind that it will learn from."""
    stored = {
        tensor.name.removesuffix(_HALF): torch.from_numpy(onnx.numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in onnx.load(path).graph.initializer
    }
    network = DrawnTagger().eval()
    named = {name.removeprefix(_PREFIX): value for name, value in stored.items() if name.startswith(_PREFIX)}
    network.load_state_dict(named, strict=False)
    folded = [stored[name] for name in sorted((n for n in stored if n.startswith(_FOLDED)), key=_number)]
    values = pictures * 2 - 1
    convolution: nn.Conv2d | None = None
    with torch.no_grad():
        for layer in network.features:
            if isinstance(layer, nn.Conv2d):
                convolution = layer
                layer.weight.copy_(folded.pop(0))
            elif isinstance(layer, nn.BatchNorm2d):
                _unfold(layer, values, bias=folded.pop(0))
            values = layer(values)
    if convolution is None or folded:
        raise ValueError(f"{path} holds another network")
    return network


def _unfold(layer: nn.BatchNorm2d, values: Tensor, *, bias: Tensor) -> None:
    """A normalisation that adds `bias` to its input and no more. values: float (n, channels, height, width)."""
    variance, mean = torch.var_mean(values, (0, 2, 3))
    layer.running_mean, layer.running_var = mean, variance
    layer.weight.copy_((variance + layer.eps).sqrt())
    layer.bias.copy_(bias + mean)


def _number(name: str) -> int:
    return int(name.removeprefix(_FOLDED))
