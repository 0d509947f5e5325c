"""The project's own small classifier of drawn scenes: what, how many, in which colour, where, before what.

It was trained on pictures that the project draws (tools/pretrain_tagger) and knows nothing else. Two gates ask first
whether a picture belongs to that world: its pixels must be flat enough for a drawing, and the network, which has seen
much that looks like photographs, must recognise its world, and in it a thing or a background. Otherwise the tagger
stays silent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.tagger.adapters.measurements import flat_share
from services.tagger.adapters.onnx_model import Floats, OnnxModel, file_sha256, runtime_installed
from services.tagger.models import Category, Picture, Score, Scores, TaggerInfo

TAGGER_ID = "drawn"
WEIGHTS = Path(__file__).parents[1] / "weights" / "fiveshot-tagger"

# Drawn scenes are square; a longer picture is a strip of something else.
_LONGEST = 1.5
# The share of pixels that equal their neighbour: 95% of drawn scenes saved as JPEG have more, 98% of views of the test
# photographs have less (docs/tagging.md).
_LEAST_FLAT = 0.35
_LEAST_SCORE = 0.01
_BEHIND_THE_SUBJECT = "scene"
_CONTENT = ("object", _BEHIND_THE_SUBJECT)


@dataclass(frozen=True)
class Question:
    """One output of the network. answers: the labels, "" where an answer is silence."""

    category: str
    answers: tuple[str, ...]
    threshold: float


@dataclass(frozen=True)
class Declaration:
    """labels.json: what the network answers, and how sure the gate must be. side: pixels of the square input."""

    domain: str
    side: int
    gate_threshold: float
    questions: tuple[Question, ...]


class DrawnOnnxTagger:
    """A Tagger around such a folder (model.onnx, labels.json). Raises OSError, ValueError or KeyError for another."""

    def __init__(self, folder: Path = WEIGHTS, *, threads: int = 1) -> None:
        self._path = folder / "model.onnx"
        self._model = OnnxModel(self._path, threads=threads)
        self._declared = read_declaration(folder / "labels.json")
        vocabulary = dict.fromkeys(label for question in self._declared.questions for label in question.answers)
        self._info = TaggerInfo(
            id=TAGGER_ID,
            display_name="Drawn scenes",
            description=(
                "Names the thing, its number, colour, size and place and the background of simple drawings. "
                "Silent on photographs and on everything else that it was not taught."
            ),
            domain=self._declared.domain,
            vocabulary=tuple(label for label in vocabulary if label),
            categories=tuple(
                Category(question.category, question.threshold, exclusive=True)
                for question in self._declared.questions
            ),
            model_sha256=file_sha256(self._path),
            device="cpu",
        )

    def describe(self) -> TaggerInfo:
        """See the port."""
        return replace(self._info, device=self._model.device()) if self.available() else self._info

    def available(self) -> bool:
        """See the port."""
        return runtime_installed() and self._path.is_file()

    def infer(self, batch: Sequence[Picture]) -> list[Scores]:
        """See the port. A score is the answer's probability times the gate's."""
        pixels = np.stack([preprocess(picture.rgb, self._declared.side) for picture in batch])
        *answers, gates = self._model.run(pixels)
        return [
            self._scores(picture, [output[row] for output in answers], float(gates[row, 0]))
            for row, picture in enumerate(batch)
        ]

    def _scores(self, picture: Picture, answers: Sequence[Floats], gate: float) -> Scores:
        if gate < self._declared.gate_threshold or not _may_be_drawn(picture):
            return Scores(outside_domain=True)
        scores = tuple(
            Score(label, question.category, float(value) * gate, False, TAGGER_ID, self._info.model_sha256)
            for question, values in zip(self._declared.questions, answers, strict=True)
            # What shows through transparent pixels is our white, not a background of the picture's.
            if picture.alpha is None or question.category != _BEHIND_THE_SUBJECT
            for label, value in zip(question.answers, values, strict=True)
            if label and value * gate >= _LEAST_SCORE
        )
        return Scores(scores) if self._recognises(scores) else Scores(outside_domain=True)

    def _recognises(self, scores: Sequence[Score]) -> bool:
        """Whether it knows the thing or the background; that something large stands in a logo is no news."""
        thresholds = {q.category: q.threshold for q in self._declared.questions if q.category in _CONTENT}
        return any(score.score >= thresholds.get(score.category, 1.0) for score in scores)


def _may_be_drawn(picture: Picture) -> bool:
    longest = max(picture.width, picture.height) / min(picture.width, picture.height)
    return longest <= _LONGEST and flat_share(picture.rgb) >= _LEAST_FLAT


def preprocess(rgb: npt.NDArray[np.uint8], side: int) -> Floats:
    """A picture, uint8 (height, width, 3), as the network's input: float32 (3, side, side), RGB, 0 to 1, squeezed."""
    image = Image.fromarray(rgb).resize((side, side), Image.Resampling.BOX)
    return np.ascontiguousarray(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)


def read_declaration(path: Path) -> Declaration:
    """What labels.json says."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return Declaration(
        domain=stored["domain"],
        side=stored["side"],
        gate_threshold=stored["gate_threshold"],
        questions=tuple(
            Question(item["category"], tuple(item["answers"]), item["threshold"]) for item in stored["questions"]
        ),
    )
