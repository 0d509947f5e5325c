from __future__ import annotations

import json
import shutil
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from services.tagger.adapters.photo_onnx import WEIGHTS, PhotoOnnxTagger, probabilities, read_table
from services.tagger.models.pictures import KIND, OBJECT, Picture, Score
from services.tagger.models.tags import TagOptions
from services.tagger.use_cases.scoring import predictions
from tests.fakes.photographs import photo_of_a_clock
from tests.unit.tagger.drawings import drawing, photograph, picture

TABLE = {
    "temperature": 0.5,
    "nouns": ["dog", "dog", "cat", "stuffed animal", "", "sneaker"],
    "kinds": ["corgi", "corgi", "", "", "", "running shoe"],
    "broader": {"dog": "animal", "cat": "animal", "stuffed animal": "toy", "sneaker": "shoe"},
    "weights": [1.0, 1.0, 1.0, 1.0, 1.0, 2.0],
    "likeness": {"toy": "stuffed animal", "of": "animal", "least_toy": 0.12, "most_of": 0.7},
}


def folder_with(folder: Path, *shares: float) -> Path:
    """A model that gives these probabilities for every picture, and evidence at one place."""
    folder.mkdir(exist_ok=True)
    logits = np.log(np.array(shares, np.float32)) * 0.5
    evidence = np.zeros((len(shares), 9, 9), np.float32)
    evidence[:, 4, 4] = 5.0
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["pictures", "axes"], ["means"], keepdims=1),
            helper.make_node("Mul", ["means", "nothing"], ["zeros4"]),
            helper.make_node("Squeeze", ["zeros4", "last"], ["zeros"]),
            helper.make_node("Add", ["zeros", "shares"], ["logits"]),
            helper.make_node("Add", ["zeros4", "places"], ["evidence"]),
        ],
        "miniature",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", 3, 260, 260])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(shares)]),
            helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["n", len(shares), 9, 9]),
        ],
        [
            numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
            numpy_helper.from_array(np.array([2, 3], np.int64), "last"),
            numpy_helper.from_array(np.zeros(1, np.float32), "nothing"),
            numpy_helper.from_array(logits, "shares"),
            numpy_helper.from_array(evidence[None], "places"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "table.json").write_text(json.dumps({**TABLE, "weights": [1.0] * 6}))
    return folder


def scores_of(folder: Path, image: Picture | None = None) -> dict[str, Score]:
    (found,) = PhotoOnnxTagger(folder).infer([image or photograph()])
    return {score.label: score for score in found.scores}


def tags(tagger: PhotoOnnxTagger, image: Picture) -> list[str]:
    (found,) = tagger.infer([image])
    return [score.label for score in predictions(found.scores, tagger.describe(), TagOptions())]


def test_classes_are_summed_by_noun_and_by_kind(tmp_path: Path) -> None:
    scores = scores_of(folder_with(tmp_path / "m", 0.5, 0.3, 0.05, 0.05, 0.08, 0.02))
    assert scores["dog"].score == pytest.approx(0.8, abs=1e-4)
    assert scores["corgi"].score == pytest.approx(0.8, abs=1e-4)
    assert (scores["dog"].category, scores["corgi"].category) == (OBJECT, KIND)
    assert scores["dog"].broader == ("animal",)
    assert scores["corgi"].broader == ("dog", "animal")
    assert "" not in scores, "a class without a noun is never spoken"


def test_a_likeness_takes_over_what_it_is_a_likeness_of(tmp_path: Path) -> None:
    """A plush dog is seen as a teddy and as dogs."""
    scores = scores_of(folder_with(tmp_path / "m", 0.3, 0.2, 0.1, 0.2, 0.1, 0.1))
    assert scores["stuffed animal"].score == pytest.approx(0.8, abs=1e-4)
    assert not {"dog", "cat", "corgi"} & set(scores)
    real = scores_of(folder_with(tmp_path / "n", 0.6, 0.15, 0.02, 0.13, 0.05, 0.05))
    assert real["dog"].score == pytest.approx(0.75, abs=1e-4)


def test_probabilities_are_calibrated_and_weighted_and_sum_to_one(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(TABLE))
    logits = np.log(np.array([[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]], np.float32))
    expected = np.array([0.25, 0.01, 0.01, 0.01, 0.01, 0.02])
    found = probabilities(np.concatenate([logits, logits]), read_table(path))
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-4)


def test_a_drawing_is_outside_its_domain(tmp_path: Path) -> None:
    tagger = PhotoOnnxTagger(folder_with(tmp_path / "m", 0.9, 0.02, 0.02, 0.02, 0.02, 0.02))
    (found,) = tagger.infer([drawing((250, 120, 20), (10, 90, 200))])
    assert found.outside_domain
    assert found.scores == ()


def test_a_table_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "m", 0.9, 0.02, 0.02, 0.02, 0.02, 0.02)
    (folder / "table.json").write_text(json.dumps({**TABLE, "kinds": ["corgi"]}))
    with pytest.raises(ValueError, match="one entry for each class"):
        PhotoOnnxTagger(folder)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        PhotoOnnxTagger(folder)


# The file that ships.

SHIPPED = PhotoOnnxTagger()


def test_the_shipped_table_has_everyday_words_and_none_for_people() -> None:
    table = read_table(WEIGHTS / "table.json")
    assert len(table.nouns) == 1000
    nouns = set(table.nouns) - {""}
    assert 150 <= len(nouns) <= 250
    expected = {"dog", "cat", "backpack", "sneaker", "boot", "stuffed animal", "toy", "bowl", "vase", "candle"}
    assert expected | {"teapot", "clock", "sunglasses", "cartoon", "car"} <= nouns
    assert dict(zip(table.kinds, table.nouns, strict=True))["corgi"] == "dog"
    words = {*nouns, *table.kinds, *table.broader.values()}
    telling = {"groom", "scuba diver", "ballplayer", "bikini", "brassiere", "miniskirt", "abaya", "diaper", "wig"}
    assert not words & telling
    assert not words & {"person", "man", "woman", "boy", "girl", "face", "placental", "covering", "artifact"}


@pytest.mark.parametrize(
    ("index", "noun"),
    [
        (486, "cello"), (889, "violin"), (402, "guitar"), (420, "banjo"), (513, "trumpet"), (875, "trombone"),
        (590, "phone"), (605, "music player"), (21, "bird"), (22, "eagle"), (49, "crocodile"), (50, "alligator"),
        (298, "mongoose"), (299, "meerkat"), (939, "zucchini"), (943, "cucumber"), (595, "harvester"),
        (866, "tractor"), (575, "golf cart"), (422, "barbell"), (543, "dumbbell"), (880, "unicycle"),
        (961, ""), (683, ""), (408, ""), (586, ""),
    ],
)  # fmt: skip
def test_what_looks_alike_to_a_network_and_not_to_people_has_two_nouns_or_none(index: int, noun: str) -> None:
    assert read_table(WEIGHTS / "table.json").nouns[index] == noun


def test_the_shipped_files_are_small_and_carry_their_licence() -> None:
    assert (WEIGHTS / "model.onnx").stat().st_size <= 13_000_000
    assert "Apache License" in (WEIGHTS / "LICENSE").read_text(encoding="utf-8")
    assert "EfficientNet-Lite" in (WEIGHTS / "NOTICE").read_text(encoding="utf-8")


def test_it_names_a_clock() -> None:
    assert "clock" in tags(SHIPPED, picture(Image.open(BytesIO(photo_of_a_clock()))))


def test_it_says_nothing_of_a_person() -> None:
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as image:
        assert tags(SHIPPED, picture(image.convert("RGB"))) == []


@pytest.mark.parametrize("seed", range(3))
def test_it_is_silent_about_textures(seed: int) -> None:
    assert tags(SHIPPED, photograph(seed)) == []


def test_what_it_sees_of_a_photograph_is_kept_in_800_bytes_and_differs_between_scenes() -> None:
    tagger, whole = PhotoOnnxTagger(), (0.0, 0.0, 1.0, 1.0)
    clock = picture(Image.open(BytesIO(photo_of_a_clock())))
    seen = [tagger.find_features(clock, whole) for _ in range(2)]
    other = tagger.find_features(photograph(), whole)
    assert seen[0] == seen[1] != other
    assert (len(seen[0].places), seen[0].model_sha256) == (800, tagger.describe().model_sha256)
    assert tagger.find_features(drawing((255, 255, 255), (220, 30, 30)), whole).places == b""


def test_scores_of_another_table_are_not_taken_for_these(tmp_path: Path) -> None:
    for file in ("model.onnx", "table.json"):
        (tmp_path / file).write_bytes((WEIGHTS / file).read_bytes())
    same = PhotoOnnxTagger(tmp_path).describe().fingerprint
    table = json.loads((tmp_path / "table.json").read_text())
    table["nouns"][table["nouns"].index("bison")] = "cow"
    (tmp_path / "table.json").write_text(json.dumps(table))
    assert PhotoOnnxTagger().describe().fingerprint == same
    assert PhotoOnnxTagger(tmp_path).describe().fingerprint != same
