from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from services.chassis.errors import FailedPrecondition
from services.tagger.adapters.onnx_model import OnnxModel
from services.tagger.adapters.wd_onnx import WdOnnxTagger, preprocess, read_labels
from services.tagger.models.pictures import Picture
from services.tagger.models.tags import TagOptions
from services.tagger.use_cases.scoring import predictions

ROWS = [
    ("9999999", "safe", 9), ("9999998", "explicit", 9), ("1", "red", 0), ("2", "green", 0), ("3", "blue", 0),
    ("4", "long_hair", 0), ("5", ">_<", 0), ("6", "some_one", 4), ("7", "a,b", 0), ("8", "odd", 3),
]  # fmt: skip
CONSTANT = (0.9, 0.1, 0.0, 0.0, 0.0, 0.6, 0.5, 0.9, 0.99, 0.99)


def write_model(folder: Path, *, labels: int = len(ROWS), side: int | str = 8) -> Path:
    """A model whose scores are constants, plus the mean red, green and blue (of 255) in their labels' places."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = np.zeros((3, labels), np.float32)
    for channel, label in ((2, 2), (1, 3), (0, 4)):
        weights[channel, label] = 1 / 255
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["colour"]),
            helper.make_node("Add", ["colour", "constant"], ["output"]),
        ],
        "miniature",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", side, side, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", labels])],
        [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array(CONSTANT, np.float32)[:labels], "constant"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    lines = ["tag_id,name,category,count", *(f'{i},"{name}",{category},1' for i, name, category in ROWS)]
    (folder / "selected_tags.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def flat(rgb: tuple[int, int, int]) -> Picture:
    return Picture(np.full((16, 16, 3), rgb, np.uint8), None, 16, 16)


def test_golden_tensor_of_the_preprocessing() -> None:
    """A wide picture: white above and below, centred, BGR, float32 from 0 to 255."""
    rgb = np.zeros((2, 4, 3), np.uint8)
    rgb[..., 0], rgb[..., 2] = 200, 10
    tensor = preprocess(rgb, 4)
    expected = np.full((4, 4, 3), 255, np.float32)
    expected[1:3] = (10, 0, 200)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, expected)


def test_golden_values_of_the_bicubic_reduction() -> None:
    """Bicubic with antialiasing over a step: half of it, then an overshoot. Other filters give other numbers."""
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[:, 3:] = 200
    assert preprocess(rgb, 4)[2, :, 0].tolist() == [0, 99, 209, 200]


def test_a_tall_picture_gets_white_at_its_sides_and_odd_margins_go_right() -> None:
    tensor = preprocess(np.zeros((5, 2, 3), np.uint8), 5)
    assert tensor[0, :, 0].tolist() == [255, 0, 0, 255, 255]


def test_a_long_strip_is_shrunk_before_it_is_squared() -> None:
    """Squared at full size, 768 kB of pixels would become 768 MB."""
    rgb = np.zeros((16, 16_000, 3), np.uint8)
    rgb[..., 1] = 130
    tracemalloc.start()
    try:
        tensor = preprocess(rgb, 448)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16e6
    assert tensor.shape == (448, 448, 3)
    assert tensor[223:225].tolist().count([[0, 130, 0]] * 448) == 1, "one row is left of it, in the middle"
    assert int((tensor != 255).any(axis=(1, 2)).sum()) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3000, 2000)])
def test_pictures_of_any_shape_fit(size: tuple[int, int]) -> None:
    assert preprocess(np.zeros((*size, 3), np.uint8), 64).shape == (64, 64, 3)


def test_labels_are_found_by_their_category_number(tmp_path: Path) -> None:
    labels = read_labels(write_model(tmp_path / "wd") / "selected_tags.csv")
    assert labels[:3] == [("safe", "rating"), ("explicit", "rating"), ("red", "general")]
    assert labels[7:] == [("some_one", "character"), ("a,b", ""), ("odd", "")]


def test_scores_are_the_models_probabilities_in_rgb_order(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "wd")
    tagger = WdOnnxTagger(folder)
    assert tagger.available()
    info = tagger.describe()
    assert info.model_sha256 == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert info.vocabulary == ("safe", "explicit", "red", "green", "blue", "long hair", ">_<", "some one")
    assert info.device == "cpu"
    red, blue = tagger.infer([flat((255, 0, 51)), flat((0, 0, 255))])
    found = {score.label: score.score for score in red.scores}
    assert found["red"] == pytest.approx(1.0, abs=1e-5)
    assert found["blue"] == pytest.approx(0.2, abs=1e-5)
    assert "a,b" not in found
    assert "odd" not in found
    assert {score.label: score.score for score in blue.scores}["blue"] == pytest.approx(1.0, abs=1e-5)


def test_the_usual_options_give_readable_labels_without_a_rating(tmp_path: Path) -> None:
    tagger = WdOnnxTagger(write_model(tmp_path / "wd"))
    (raw,) = tagger.infer([flat((255, 0, 0))])
    labels = [score.label for score in predictions(raw.scores, tagger.describe(), TagOptions())]
    assert labels == ["some one", "red", "long hair", ">_<"]
    rated = TagOptions(category_thresholds=(("rating", 0.0),))
    assert [score.label for score in predictions(raw.scores, tagger.describe(), rated)][-1] == "safe"


def test_a_folder_may_hold_the_models_own_thresholds(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "wd")
    (folder / "thresholds.json").write_text(json.dumps({"general": 0.55}))
    thresholds = {category.name: category.threshold for category in WdOnnxTagger(folder).describe().categories}
    assert thresholds == {"character": 0.85, "general": 0.55, "rating": 1.0}


@pytest.mark.parametrize("content", ['{"style": 0.5}', '{"general": 2}', '{"general": "high"}', "[0.5]"])
def test_wrong_thresholds_are_refused(tmp_path: Path, content: str) -> None:
    folder = write_model(tmp_path / "wd")
    (folder / "thresholds.json").write_text(content)
    with pytest.raises(ValueError, match=r"thresholds\.json"):
        WdOnnxTagger(folder)


def test_a_folder_that_is_incomplete_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WdOnnxTagger(tmp_path)
    folder = write_model(tmp_path / "wd")
    (folder / "selected_tags.csv").write_text("id,label\n1,cat\n")
    with pytest.raises(ValueError, match="name and category"):
        WdOnnxTagger(folder)


def test_labels_of_another_model_are_noticed(tmp_path: Path) -> None:
    tagger = WdOnnxTagger(write_model(tmp_path / "wd", labels=7))
    with pytest.raises(FailedPrecondition, match=r"7 scores for the 10 labels of selected_tags\.csv"):
        tagger.infer([flat((0, 0, 0))])


def test_the_side_is_read_from_the_model_or_448(tmp_path: Path) -> None:
    fixed = WdOnnxTagger(write_model(tmp_path / "fixed", side=12))
    assert len(fixed.infer([flat((1, 2, 3))])) == 1, "another side than 12 would be refused by the graph"
    free = WdOnnxTagger(write_model(tmp_path / "free", side="side"))
    assert free.side() == 448


def write_graph(
    folder: Path, nodes: list[onnx.NodeProto], *, inputs: list[tuple[int, list[int | str]]], **more: Any
) -> Path:
    """A folder whose model is that graph between `x`, `x1`, … and `y`, beside the labels of the others."""
    write_model(folder)
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(f"x{number or ''}", *each) for number, each in enumerate(inputs)],
        [helper.make_tensor_value_info("y", more.pop("output", TensorProto.FLOAT), None)],
        more.pop("weights", []),
    )
    sets = [helper.make_opsetid("", more.pop("opset", 18)), helper.make_opsetid("strange", 1)]
    (folder / "model.onnx").write_bytes(
        helper.make_model(graph, opset_imports=sets, ir_version=9, **more).SerializeToString()
    )
    return folder


PICTURES: tuple[int, list[int | str]] = TensorProto.FLOAT, ["batch", 8, 8, 3]
ZEROS = [
    helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
    helper.make_node("Mul", ["zeros", "mean"], ["start"]),
]
WEIGHTS = [numpy_helper.from_array(np.zeros((1, len(ROWS)), np.float32), "zeros")]


def after_zeros(*nodes: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Ten zeros for the one picture, then the given nodes, which lead from `start` to `y`."""
    return [*ZEROS, *nodes]


def elsewhere(location: str) -> onnx.TensorProto:
    """Weights that lie in another file."""
    tensor = onnx.TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[1, len(ROWS)])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def lying() -> onnx.TensorProto:
    """Weights of four terabytes in forty bytes."""
    return onnx.TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[2**40, len(ROWS)], raw_data=bytes(40))


def endless() -> onnx.NodeProto:
    """A loop whose condition stays true."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["in"], ["out"])],
        "body",
        [value("turn", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("in", TensorProto.FLOAT, None)],
        [value("go_on", TensorProto.BOOL, []), value("out", TensorProto.FLOAT, None)],
    )
    return helper.make_node("Loop", ["", "true", "start"], ["y"], body=body)


NODE = helper.make_node
PLUS_FAR = after_zeros(NODE("Add", ["start", "far"], ["y"]))
CIRCLE = after_zeros(NODE("Add", ["start", "b"], ["a"]), NODE("Abs", ["a"], ["b"]), NODE("Abs", ["b"], ["y"]))
TEXTS = after_zeros(NODE("Cast", ["start"], ["y"], to=TensorProto.STRING))
HOSTILE: list[tuple[str, list[onnx.NodeProto], dict[str, Any], str]] = [
    ("not a number", after_zeros(NODE("Div", ["start", "start"], ["y"])), {}, "no probabilities"),
    ("without end", after_zeros(NODE("Reciprocal", ["start"], ["y"])), {}, "no probabilities"),
    ("too large", after_zeros(NODE("Exp", ["start"], ["e"]), NODE("Add", ["e", "e"], ["y"])), {}, "no probabilities"),
    ("texts", TEXTS, {"output": TensorProto.STRING}, "no list"),
    ("one number", [NODE("ReduceMean", ["x"], ["y"], keepdims=0)], {}, "no list"),
    ("pixels", [NODE("Flatten", ["x"], ["y"])], {}, "192 scores for the 10 labels"),
    ("an operator of its own", after_zeros(NODE("Run", ["start"], ["y"], domain="strange")), {}, "damaged"),
    ("of tomorrow", after_zeros(NODE("Identity", ["start"], ["y"])), {"opset": 999}, "damaged"),
    ("a circle", CIRCLE, {}, "damaged"),
    ("weights above its folder", PLUS_FAR, {"weights": [*WEIGHTS, elsewhere("../../secret")]}, "damaged"),
    ("weights on a device", PLUS_FAR, {"weights": [*WEIGHTS, elsewhere("/dev/zero")]}, "damaged"),
    ("weights that lie of their size", PLUS_FAR, {"weights": [*WEIGHTS, lying()]}, "damaged"),
    ("colours first", [NODE("Identity", ["x"], ["y"])], {"inputs": [(TensorProto.FLOAT, ["n", 3, 8, 8])]}, "no square"),
    ("no square", [NODE("Identity", ["x"], ["y"])], {"inputs": [(TensorProto.FLOAT, ["n", 8, 9, 3])]}, "no square"),
    ("bytes", [NODE("Cast", ["x"], ["y"], to=1)], {"inputs": [(TensorProto.UINT8, ["n", 8, 8, 3])]}, "no square"),
    ("a side of 30,000", [NODE("Identity", ["x"], ["y"])], {"inputs": [(1, ["n", 30_000, 30_000, 3])]}, "no square"),
    ("no side", [NODE("Identity", ["x"], ["y"])], {"inputs": [(TensorProto.FLOAT, ["n", 0, 0, 3])]}, "no square"),
    ("two pictures", [NODE("Add", ["x", "x1"], ["y"])], {"inputs": [PICTURES, PICTURES]}, "no square"),
    ("nothing to look at", [NODE("Constant", [], ["y"], value_float=1.0)], {"inputs": []}, "no square"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "more", "why"), [pytest.param(*each[1:], id=each[0]) for each in HOSTILE])
def test_a_model_that_is_none_of_its_kind_is_told_of_in_a_sentence(
    tmp_path: Path, nodes: list[onnx.NodeProto], more: dict[str, Any], why: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(400))
    tagger = WdOnnxTagger(
        write_graph(tmp_path / "a" / "wd", nodes, **{"inputs": [PICTURES], "weights": WEIGHTS, **more})
    )
    for _ in range(2):
        with pytest.raises(FailedPrecondition, match=why) as caught:
            tagger.infer([flat((9, 9, 9))])
        assert caught.value.reason == "TAGGER_MODEL_UNUSABLE"
        assert str(tmp_path) not in str(caught.value)


def test_a_model_that_never_ends_is_stopped(tmp_path: Path) -> None:
    weights = [*WEIGHTS, numpy_helper.from_array(np.array(True), "true")]
    folder = write_graph(tmp_path / "wd", after_zeros(endless()), inputs=[PICTURES], weights=weights)
    with pytest.raises(FailedPrecondition, match=r"longer than 0\.2 seconds"):
        OnnxModel(folder / "model.onnx", threads=1, longest_s=0.2).run(np.zeros((1, 8, 8, 3), np.float32))


def test_a_label_that_nobody_sees_is_never_given(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "wd")
    hidden = [f"{number},{name},0,1" for number, name in enumerate(("a\x1b[31mb", "a\u202eb", "a\x00b"))]
    (folder / "selected_tags.csv").write_text(
        "\n".join(["tag_id,name,category,count", *hidden, "9,cat,0,1", "8,short"])
    )
    assert [name for name, category in read_labels(folder / "selected_tags.csv") if category] == ["cat"]
