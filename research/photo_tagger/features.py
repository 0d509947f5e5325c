"""Adds the output `features` to the model: a middle layer along the directions in which photographs differ most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
import onnxruntime

from research.photo_tagger.crops import photographs
from services.tagger.adapters.photo_views import SIDE, as_input

_LAYER = "/_blocks.15/_project_conv/Conv_output_0"
_KEPT = 32
_OUTPUT = "features"


def add_features(path: Path, packages: Path) -> float:
    """Writes the model again; returns the share of the photographs' variance that is kept."""
    model = onnx.load(path)
    _without_features(model)
    seen = _places(model, packages)
    mean = seen.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov((seen - mean).T))
    kept = directions[:, ::-1][:, :_KEPT].T
    # A direction has no sign of its own; its largest number is positive.
    kept *= np.sign(kept[np.arange(_KEPT), np.abs(kept).argmax(axis=1)])[:, None]
    weight = kept[:, :, None, None].astype(np.float16)
    shift = (-kept @ mean).astype(np.float32)
    graph = model.graph
    graph.initializer.append(onnx.numpy_helper.from_array(weight, "features.weight.half"))
    graph.initializer.append(onnx.numpy_helper.from_array(shift, "features.bias"))
    names = ["features.weight.half"], ["features.weight"]
    graph.node.append(onnx.helper.make_node("Cast", *names, to=onnx.TensorProto.FLOAT))
    graph.node.append(onnx.helper.make_node("Conv", [_LAYER, "features.weight", "features.bias"], [_OUTPUT]))
    shape: list[str | int | None] = ["n", _KEPT, 9, 9]
    graph.output.append(onnx.helper.make_tensor_value_info(_OUTPUT, onnx.TensorProto.FLOAT, shape))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return float(variances[::-1][:_KEPT].sum() / variances.sum())


def _places(model: onnx.ModelProto, packages: Path) -> npt.NDArray[np.float64]:
    """What the layer says at every place of every photograph, (places, planes)."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(onnx.helper.make_tensor_value_info(_LAYER, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    found = []
    for image in photographs(packages):
        (planes,) = session.run([_LAYER], {"pictures": as_input([image.resize((SIDE, SIDE))])})
        found.append(planes[0].reshape(planes.shape[1], -1).T)
    return np.concatenate(found).astype(np.float64)


def _without_features(model: onnx.ModelProto) -> None:
    """Takes away what an earlier run added."""
    graph = model.graph
    for group, names in (
        (graph.output, [each.name for each in graph.output]),
        (graph.node, [each.output[0] for each in graph.node]),
        (graph.initializer, [each.name for each in graph.initializer]),
    ):
        for place in reversed(range(len(names))):
            if names[place] == _OUTPUT or names[place].startswith(f"{_OUTPUT}."):
                del group[place]
