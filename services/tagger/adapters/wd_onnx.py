"""Taggers of the WD v3 family (SmilingWolf/wd-*-tagger-v3): a folder with model.onnx and selected_tags.csv.

Input: the picture on white, padded to a centred square with white, bicubic to the model's side, BGR, float32 from 0 to
255, not normalised, NHWC. Output: probabilities, one a row of selected_tags.csv (columns tag_id, name, category,
count), whose category is 9 for a rating, 0 for a general label and 4 for a character. Labels are found by that number,
never by their place. Such models differ in where precision meets recall (0.27 to 0.53), so a folder may hold a
thresholds.json such as {"general": 0.27, "character": 0.8} of its own.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.chassis.texts import hidden_in
from services.tagger.adapters.folder_files import read_text
from services.tagger.adapters.onnx_model import Floats, OnnxModel, file_sha256, runtime_installed, unusable
from services.tagger.models.pictures import Category, Picture, Score, Scores, TaggerInfo
from services.tagger.use_cases.labels import readable

TAGGER_ID = "wd"

_CATEGORIES = {"4": "character", "0": "general", "9": "rating"}
# A rating is not a caption: it is given only to a request that lowers its threshold.
_THRESHOLDS = {"character": 0.85, "general": 0.35, "rating": 1.0}
_CHARACTER_FLOOR = 0.15
_DEFAULT_SIDE = 448
_LARGEST_SIDE = 2048
_LONGEST_LABEL = 100
# A probability is one but for rounding.
_ROUNDING = 1e-3


class WdOnnxTagger:
    """A Tagger around such a folder. id: its name among taggers. threads: cores that one run may use.

    Raises ValueError when the folder holds something else, OSError when it cannot be read.
    """

    def __init__(self, folder: Path, *, id: str = TAGGER_ID, threads: int = 2) -> None:
        self._folder = folder.name
        self._model_path = folder / "model.onnx"
        self._model = OnnxModel(self._model_path, threads=threads)
        self._labels = read_labels(folder / "selected_tags.csv")
        thresholds = {**_THRESHOLDS, **_read_thresholds(folder / "thresholds.json")}
        self._info = TaggerInfo(
            id=id,
            display_name=f"WD ({folder.name})",
            description="Names what illustrations and photographs show, in the vocabulary of an image board.",
            domain="illustrations; usable on photographs",
            vocabulary=tuple(readable(name) for name, category in self._labels if category),
            categories=tuple(
                Category(
                    name,
                    thresholds[name],
                    exclusive=name == "rating",
                    adaptive_floor=_CHARACTER_FLOOR if name == "character" else 0.0,
                    takes_threshold=name == "general",
                )
                for name in _CATEGORIES.values()
            ),
            model_sha256=file_sha256(self._model_path),
            device="cpu",
        )

    def describe(self) -> TaggerInfo:
        """See the port."""
        device = self._model.device() if self.available() else "cpu"
        return replace(self._info, device=device, batch_size=8 if device == "cuda" else 1)

    def available(self) -> bool:
        """See the port."""
        return runtime_installed() and self._model_path.is_file()

    def infer(self, batch: Sequence[Picture]) -> list[Scores]:
        """See the port."""
        side = self.side()
        pixels = np.stack([preprocess(picture.rgb, side) for picture in batch])
        probabilities = np.asarray(self._model.run(pixels)[0])
        if probabilities.ndim != 2 or probabilities.dtype.kind != "f" or len(probabilities) != len(batch):
            raise unusable(self._folder, "it gives no list of probabilities for a picture")
        if probabilities.shape[1] != len(self._labels):
            raise unusable(
                self._folder,
                f"it gives {probabilities.shape[1]} scores for the {len(self._labels)} labels of selected_tags.csv, "
                "which belongs to another model",
            )
        # Not a number is above no threshold and below none.
        if not np.all((probabilities >= -_ROUNDING) & (probabilities <= 1 + _ROUNDING)):
            raise unusable(self._folder, "its scores are no probabilities from 0 to 1")
        return [self._scores(row) for row in probabilities.clip(0, 1)]

    def side(self) -> int:
        """Pixels of the square that the model takes. Raises FailedPrecondition for one that takes something else."""
        inputs = self._model.input_shapes()
        kind, shape = inputs[0] if len(inputs) == 1 else ("", [])
        fixed = [axis for axis in shape[1:3] if isinstance(axis, int)]
        square = len(shape) == 4 and shape[3] in (3, None) and len(set(fixed)) <= 1
        if kind != "tensor(float)" or not square or not all(1 <= axis <= _LARGEST_SIDE for axis in fixed):
            raise unusable(
                self._folder,
                f"it takes no square pictures of up to {_LARGEST_SIDE} pixels as float32 (batch, side, side, 3)",
            )
        return fixed[0] if fixed else _DEFAULT_SIDE

    def _scores(self, probabilities: Floats) -> Scores:
        return Scores(
            tuple(
                Score(name, category, float(value), False, self._info.id, self._info.model_sha256)
                for (name, category), value in zip(self._labels, probabilities, strict=True)
                if category
            )
        )


def preprocess(rgb: npt.NDArray[np.uint8], side: int) -> Floats:
    """A picture, uint8 (height, width, 3), as the model's input: float32 (side, side, 3), BGR, 0 to 255."""
    image = Image.fromarray(rgb)
    longer = max(image.size)
    if longer != side:
        # Shrunk before it is squared: the square of a long strip would be thousands of times larger than the strip.
        size = (max(1, round(image.width * side / longer)), max(1, round(image.height * side / longer)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    square = Image.new("RGB", (side, side), (255, 255, 255))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.ascontiguousarray(np.asarray(square, np.float32)[:, :, ::-1])


def read_labels(path: Path) -> list[tuple[str, str]]:
    """Name and category of every row, in order; the category is "" for rows that are never given as labels.

    Raises ValueError when the columns are missing or it is no such file.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="")
        if not {"name", "category"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path.name} has no columns name and category")
        rows = [(row["name"], _CATEGORIES.get(row["category"], "")) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{path.name} is no table of comma-separated values") from error
    return [(name, category if _is_label(name) else "") for name, category in rows]


def _is_label(name: str) -> bool:
    """Whether the dataset service takes it: tags are joined with commas, so none may hold one."""
    return 0 < len(name) <= _LONGEST_LABEL and not {",", "\n"} & set(name) and not hidden_in(name)


def _read_thresholds(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    try:
        given = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name} is no JSON") from error
    wrong = not isinstance(given, dict) or any(
        name not in _THRESHOLDS or type(value) not in (int, float) or not 0 <= value <= 1
        for name, value in given.items()
    )
    if wrong:
        raise ValueError(f"{path.name} must map {', '.join(_THRESHOLDS)} to numbers from 0 to 1")
    return {name: float(value) for name, value in given.items()}
