"""Writes the trained network as ONNX, with the declaration of what it says, and sets its thresholds."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
import torch
from safetensors.torch import load_file

from tools.pretrain_tagger.data import Examples, read_blocks
from tools.pretrain_tagger.facts import QUESTIONS, SIDE
from tools.pretrain_tagger.network import DrawnTagger, Exported
from tools.pretrain_tagger.train import WEIGHTS

DOMAIN = (
    "drawn scenes: one to three of 33 simple things (emoji-like objects, shapes, robots, monsters, vans) on plain, "
    "striped, dotted, graded or four scenic backgrounds; no photographs"
)
# The tagger's categories; `colour` and `background` belong to what is measured, with thresholds of their own.
CATEGORIES = {"colour": "object colour", "background": "scene"}

_WANTED_PRECISION = 0.99
# Validation pictures come from the renderer that was learnt from and promise too much; a missing tag costs less than a
# wrong one, so an answer must be at least this sure whatever they say.
_LEAST_THRESHOLD = 0.8
# The gate must be at least this sure, and surer where pictures from outside still pass.
_LEAST_GATE = 0.9
_LET_IN = 0.001
_OPSET = 17
_SMALL = 1000


def export(folder: Path, target: Path, *, validation_blocks: int = 4) -> None:
    """Reads WEIGHTS from `folder` and writes model.onnx and labels.json to `target`."""
    network = DrawnTagger()
    network.load_state_dict(load_file(folder / WEIGHTS))
    network.eval()
    target.mkdir(parents=True, exist_ok=True)
    _write_onnx(network, target / "model.onnx")
    examples = read_blocks(folder, count=validation_blocks)
    declared = declare(network, examples)
    (target / "labels.json").write_text(json.dumps(declared, indent=1) + "\n", encoding="utf-8")


def declare(network: DrawnTagger, examples: Examples) -> dict[str, object]:
    """labels.json for a network. Thresholds are the least with the wanted precision on pictures never learnt from.

    The gate's threshold lets in next to nothing from outside; whatever it lets in wrongly must still pass the
    thresholds, which are set with those pictures among the examples.
    """
    pictures = torch.from_numpy(examples.pictures).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        parts = [Exported(network)(part) for part in torch.split(pictures, 250)]
    outputs = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
    gate = outputs[-1][:, 0]
    gate_threshold = max(_LEAST_GATE, float(np.quantile(gate[~examples.inside], 1 - _LET_IN)))
    let_in = gate >= gate_threshold
    questions = []
    for column, (question, answers) in enumerate(QUESTIONS.items()):
        scores = outputs[column] * gate[:, None]
        threshold = threshold_for(scores[let_in], np.where(examples.inside, examples.answers[:, column], 0)[let_in])
        questions.append(
            {"category": CATEGORIES.get(question, question), "answers": answers, "threshold": round(threshold, 3)}
        )
    return {"domain": DOMAIN, "side": SIDE, "gate_threshold": round(gate_threshold, 4), "questions": questions}


def threshold_for(scores: npt.NDArray[np.float32], answers: npt.NDArray[np.int64]) -> float:
    """The least threshold at which the best spoken answers are right often enough. scores: (n, answers)."""
    best = scores[:, 1:].argmax(1) + 1
    value = scores[np.arange(len(scores)), best]
    right = best == answers
    for threshold in np.arange(_LEAST_THRESHOLD, 0.99, 0.01):
        given = value >= threshold
        if given.any() and right[given].mean() >= _WANTED_PRECISION:
            return float(threshold)
    return 0.99


def _write_onnx(network: DrawnTagger, path: Path) -> None:
    with warnings.catch_warnings():
        # The older exporter writes a plain graph of standard operators, which is what any runtime reads.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Exported(network).eval(),
            (torch.zeros(2, 3, SIDE, SIDE),),
            str(path),
            input_names=["pictures"],
            output_names=[*QUESTIONS, "inside"],
            dynamic_axes={name: {0: "n"} for name in ("pictures", *QUESTIONS, "inside")},
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load(path)
    _store_halves(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _store_halves(model: onnx.ModelProto) -> None:
    """Keeps the large weights as float16 in the file, each widened by a Cast when the model is loaded.

    The answers change by less than 0.01; the file is half as large.
    """
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
