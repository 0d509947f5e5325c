"""The adapter on a miniature network whose answers are known, and the shipped network on pictures drawn here."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from research.fiveshot_tiny.scenes.textures import draw_textures
from services.tagger.adapters.drawn_onnx import WEIGHTS, DrawnOnnxTagger, preprocess
from services.tagger.models import Picture, TagOptions
from services.tagger.use_cases.scoring import predictions
from tests.unit.tagger.drawings import photograph
from tools.pretrain_tagger.evaluate import blind_scenes, evaluate_drawn, tags_of

SIDE = 4
LEAST_PRECISION = {"object": 0.9, "count": 0.95, "object colour": 0.9, "scene": 0.95, "size": 0.95, "place": 0.95}
LEAST_RECALL = {"object": 0.3, "count": 0.75, "object colour": 0.2, "scene": 0.75, "size": 0.7, "place": 0.7}
QUESTIONS = [
    {"category": "object", "answers": ["", "cat", "dog"], "threshold": 0.5},
    {"category": "scene", "answers": ["", "meadow"], "threshold": 0.6},
]


def miniature(folder: Path) -> Path:
    """Answers that do not depend on the picture, and a gate that is its mean red."""
    folder.mkdir()
    constants = {"silence": 0.0, "object_values": [0.1, 0.2, 0.7], "scene_values": [0.1, 0.9]}
    nodes = [
        helper.make_node("ReduceMean", ["pictures", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "red"], ["inside"]),
        helper.make_node("Mul", ["inside", "silence"], ["zero"]),
        helper.make_node("Add", ["zero", "object_values"], ["object"]),
        helper.make_node("Add", ["zero", "scene_values"], ["scene"]),
    ]
    tensors = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    tensors.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    tensors.append(numpy_helper.from_array(np.array([[1.0], [0.0], [0.0]], np.float32), "red"))
    outputs = [("object", 3), ("scene", 2), ("inside", 1)]
    graph = helper.make_graph(
        nodes,
        "miniature",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", count]) for name, count in outputs],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    declared = {"domain": "tests", "side": SIDE, "gate_threshold": 0.5, "questions": QUESTIONS}
    (folder / "labels.json").write_text(json.dumps(declared))
    return folder


def flat(red: int, *, width: int = 20, height: int = 20, alpha: bool = False) -> Picture:
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = red
    return Picture(rgb, np.zeros((height, width), np.uint8) if alpha else None, width, height)


@pytest.fixture
def tagger(tmp_path: Path) -> DrawnOnnxTagger:
    return DrawnOnnxTagger(miniature(tmp_path / "miniature"))


def test_golden_tensor_of_the_preprocessing() -> None:
    rgb = np.zeros((4, 8, 3), np.uint8)
    rgb[:, :4, 0], rgb[:2, :, 2] = 255, 100
    tensor = preprocess(rgb, 2)
    assert tensor.shape == (3, 2, 2)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor[0], [[1, 0], [1, 0]])
    np.testing.assert_allclose(tensor[2], [[100 / 255, 100 / 255], [0.0, 0.0]])


def test_a_score_is_the_answers_probability_times_the_gates(tagger: DrawnOnnxTagger) -> None:
    sure, less = tagger.infer([flat(255), flat(204)])
    assert {score.label: score.score for score in sure.scores} == pytest.approx({"cat": 0.2, "dog": 0.7, "meadow": 0.9})
    assert {score.label: score.score for score in less.scores} == pytest.approx(
        {"cat": 0.16, "dog": 0.56, "meadow": 0.72}
    )
    kept = predictions(less.scores, tagger.describe(), TagOptions())
    assert [score.label for score in kept] == ["dog", "meadow"]
    assert all(score.tagger == "drawn" and len(score.model_sha256) == 64 and not score.measured for score in kept)


def test_only_the_best_answer_of_a_question_is_given(tagger: DrawnOnnxTagger) -> None:
    (scores,) = tagger.infer([flat(255)])
    assert [score.label for score in predictions(scores.scores, tagger.describe(), TagOptions(threshold=0.1))] == [
        "dog",
        "meadow",
    ]


def test_it_is_silent_behind_a_closed_gate_on_strips_and_on_grain(tagger: DrawnOnnxTagger) -> None:
    grainy = flat(200)
    grainy.rgb[..., 0] += np.random.default_rng(0).integers(0, 50, (20, 20), np.uint8)
    closed, strip, grain, open_ = tagger.infer([flat(100), flat(255, width=40), grainy, flat(255, width=24)])
    assert closed.outside_domain
    assert closed.scores == ()
    assert strip.outside_domain
    assert grain.outside_domain, "a drawing is flat, a photograph is not"
    assert not open_.outside_domain


def test_it_is_silent_when_it_knows_neither_the_thing_nor_the_background(tmp_path: Path) -> None:
    folder = miniature(tmp_path / "unsure")
    declared = json.loads((folder / "labels.json").read_text())
    for question in declared["questions"]:
        question["threshold"] = 0.95
    (folder / "labels.json").write_text(json.dumps(declared))
    (scores,) = DrawnOnnxTagger(folder).infer([flat(255)])
    assert scores.outside_domain
    assert scores.scores == ()


def test_nothing_is_said_of_what_shows_through_transparent_pixels(tagger: DrawnOnnxTagger) -> None:
    (scores,) = tagger.infer([flat(255, alpha=True)])
    assert {score.label for score in scores.scores} == {"cat", "dog"}


def test_the_vocabulary_is_declared_without_silence(tagger: DrawnOnnxTagger) -> None:
    info = tagger.describe()
    assert info.vocabulary == ("cat", "dog", "meadow")
    assert [(category.name, category.exclusive) for category in info.categories] == [("object", True), ("scene", True)]


@pytest.fixture(scope="module")
def shipped() -> DrawnOnnxTagger:
    return DrawnOnnxTagger()


def test_the_shipped_network_is_small_and_plain() -> None:
    path = WEIGHTS / "model.onnx"
    assert path.stat().st_size <= 5 * 1024 * 1024
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert {opset.domain for opset in model.opset_import} == {""}, "standard operators only"


def test_the_shipped_network_reads_another_hand(shipped: DrawnOnnxTagger) -> None:
    """A small sample of what docs/tagging.md reports, with room for chance."""
    report = evaluate_drawn(shipped, blind_scenes(150, seed=7))
    found = {category: report.total(category) for category in report.labels}
    assert all(found[category].precision >= least for category, least in LEAST_PRECISION.items()), found
    assert all(found[category].recall >= least for category, least in LEAST_RECALL.items()), found


def test_the_shipped_network_is_silent_outside_its_world(shipped: DrawnOnnxTagger) -> None:
    given: Counter[str] = Counter()
    for texture in draw_textures(80, seed=77, size=128):
        given.update(tags_of(shipped, Image.fromarray(texture))[0].values())
    assert sum(given.values()) <= 3, given
    for seed in range(4):
        (scores,) = shipped.infer([photograph(seed)])
        assert scores.outside_domain
