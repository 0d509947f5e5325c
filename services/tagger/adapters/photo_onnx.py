"""The tagger of photographs that ships: an ImageNet network (EfficientNet-Lite2), its classes put under everyday nouns.

A picture is looked at four times; the calibrated probabilities of the looks are averaged and summed by noun. The table
beside the model (`table.json`, made by research/photo_tagger) says which noun a class counts for, what it is called
beside it, and what is never spoken: whatever tells of people, and what the network sees in patterns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.tagger.adapters import measurements
from services.tagger.adapters.onnx_model import Floats, OnnxModel, file_sha256, runtime_installed
from services.tagger.adapters.photo_features import find_features
from services.tagger.adapters.photo_mask import find_mask
from services.tagger.adapters.photo_subject import Box, find_subject
from services.tagger.adapters.photo_views import as_input, close_up, overview, without_bars
from services.tagger.models.pictures import KIND, OBJECT, Category, Picture, Score, Scores, TaggerInfo
from services.tagger.models.tags import Features

TAGGER_ID = "photo"
WEIGHTS = Path(__file__).parents[1] / "weights" / "efficientnet-lite2"

# Set on the development set (docs/tagging.md).
_THRESHOLD = 0.55
_LEAST_SCORE = 0.002
# Of a picture with more equal neighbours than this the network, which has seen photographs, knows nothing. Photographs
# with much sky or white cloth have up to 0.7.
_DRAWING = 0.72
# A colour is the subject's when it fills so much of the places that speak for the noun, and clearly less elsewhere.
_COLOUR_SHARE = 0.3
_DISTINCT = 1.5
_CORE = 0.6


@dataclass(frozen=True)
class Table:
    """table.json. nouns, kinds, weights: for each class, "" where nothing is said. broader: a noun's wider noun.

    temperature: divides the logits. likeness: which noun takes over from which wider one, and when.
    """

    nouns: tuple[str, ...]
    kinds: tuple[str, ...]
    broader: dict[str, str]
    weights: Floats
    temperature: float
    toy: str
    of: str
    least_toy: float
    most_of: float

    def chain(self, noun: str) -> tuple[str, ...]:
        """The nouns above a noun, the nearest first."""
        wider = self.broader.get(noun)
        return (wider, *self.chain(wider)) if wider else ()


class PhotoOnnxTagger:
    """A Tagger around such a folder (model.onnx, table.json). Raises OSError, ValueError or KeyError for another."""

    def __init__(self, folder: Path = WEIGHTS, *, threads: int = 1) -> None:
        self._path = folder / "model.onnx"
        self._model = OnnxModel(self._path, threads=threads)
        self._table = read_table(folder / "table.json")
        self._nouns = sorted(set(self._table.nouns) - {""})
        self._members = {
            noun: np.array([index for index, each in enumerate(self._table.nouns) if each == noun])
            for noun in self._nouns
        }
        kinds = sorted(set(self._table.kinds) - {""})
        self._info = TaggerInfo(
            id=TAGGER_ID,
            display_name="Photographs",
            description=(
                "Names the thing or animal in a photograph in everyday words, and its kind where it is sure. "
                "It says nothing of people and is silent where it is unsure."
            ),
            domain="photographs of things, animals and places",
            vocabulary=tuple(dict.fromkeys((*self._nouns, *kinds))),
            categories=(
                # A kind is never surer than its noun, so with one threshold it is never said alone.
                Category(OBJECT, _THRESHOLD),
                Category(KIND, _THRESHOLD),
                Category("colour", measurements.COLOUR_THRESHOLD, takes_threshold=False),
            ),
            model_sha256=file_sha256(self._path),
            device="cpu",
            # Another table gives the same picture other scores.
            parts=(file_sha256(folder / "table.json"),),
        )

    def describe(self) -> TaggerInfo:
        """See the port."""
        return replace(self._info, device=self._model.device()) if self.available() else self._info

    def available(self) -> bool:
        """See the port."""
        return runtime_installed() and self._path.is_file()

    def infer(self, batch: Sequence[Picture]) -> list[Scores]:
        """See the port. A score is the mean probability of the noun or kind over the views."""
        return [self._look(picture) for picture in batch]

    def find_subject(self, picture: Picture, inside: Box) -> Box | None:
        """See the port SubjectFinder."""
        part = _photograph(picture, inside)
        return None if part is None else find_subject(self._model, part)

    def find_mask(self, picture: Picture, inside: Box) -> Floats | None:
        """See the port MaskFinder."""
        part = _photograph(picture, inside)
        return None if part is None else find_mask(self._model, part)

    def find_features(self, picture: Picture, inside: Box) -> Features:
        """See the port FeatureFinder."""
        part = _photograph(picture, inside)
        return Features(self._info.model_sha256, b"" if part is None else find_features(self._model, part))

    def _look(self, picture: Picture) -> Scores:
        if measurements.flat_share(picture.rgb) > _DRAWING:
            return Scores(outside_domain=True)
        image = without_bars(picture.rgb)
        logits, evidence = self._model.run(as_input(overview(image)))[:2]
        closer = self._model.run(as_input([close_up(image, evidence[0])]))[0]
        classes = probabilities(np.concatenate([logits, closer]), self._table)
        nouns = self._noun_scores(classes)
        scores = [
            *(self._score(noun, OBJECT, value, self._table.chain(noun)) for noun, value in nouns.items()),
            *self._kinds(classes, nouns),
        ]
        best = max(nouns, key=lambda noun: nouns[noun])
        if nouns[best] >= _THRESHOLD:
            speaking = self._members[best]
            scores += self._colours(image, np.tensordot(classes[speaking], evidence[0, speaking], 1))
        return Scores(tuple(score for score in scores if score.score >= _LEAST_SCORE))

    def _noun_scores(self, classes: Floats) -> dict[str, float]:
        """The sum of each noun's classes; a likeness takes over what it is a likeness of."""
        table = self._table
        nouns = {noun: float(classes[members].sum()) for noun, members in self._members.items()}
        originals = [noun for noun in nouns if table.of in table.chain(noun)]
        together = sum(nouns[noun] for noun in originals)
        if nouns.get(table.toy, 0.0) >= table.least_toy and together < table.most_of:
            nouns[table.toy] += together
            nouns.update(dict.fromkeys(originals, 0.0))
        return nouns

    def _kinds(self, classes: Floats, nouns: dict[str, float]) -> Iterator[Score]:
        sums: dict[tuple[str, str], float] = {}
        for kind, noun, value in zip(self._table.kinds, self._table.nouns, classes, strict=True):
            if kind:
                sums[kind, noun] = sums.get((kind, noun), 0.0) + float(value)
        for (kind, noun), value in sums.items():
            # What its noun lost to a likeness, the kind loses too.
            yield self._score(kind, KIND, min(value, nouns[noun]), (noun, *self._table.chain(noun)))

    def _colours(self, image: Image.Image, evidence: Floats) -> Iterator[Score]:
        """Colours of the places that speak most for the noun. evidence: (rows, columns) over the picture."""
        lab = measurements.to_lab(np.asarray(image, np.uint8))
        size = (lab.shape[1], lab.shape[0])
        spread = np.asarray(Image.fromarray(evidence.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
        low, high = float(spread.min()), float(spread.max())
        core = spread >= low + _CORE * (high - low)
        around = measurements.colour_shares(lab, ~core, photograph=True)
        for name, share in measurements.colour_shares(lab, core, photograph=True).items():
            if share >= max(_COLOUR_SHARE, _DISTINCT * around.get(name, 0.0)):
                yield Score(name, "colour", share, True, TAGGER_ID)

    def _score(self, label: str, category: str, value: float, broader: tuple[str, ...]) -> Score:
        return Score(label, category, min(value, 1.0), False, TAGGER_ID, self._info.model_sha256, broader)


def _photograph(picture: Picture, inside: Box) -> npt.NDArray[np.uint8] | None:
    """The part of the picture; None where it is no photograph."""
    height, width = picture.rgb.shape[:2]
    left, top, right, bottom = inside
    part = picture.rgb[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    return part if part.size and measurements.flat_share(part) <= _DRAWING else None


def probabilities(logits: Floats, table: Table) -> Floats:
    """Logits of several views, (views, classes), as one calibrated distribution, (classes,)."""
    scaled = logits / table.temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True)) * table.weights
    mean: Floats = (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)
    return mean


def read_table(path: Path) -> Table:
    """What table.json says."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    likeness = stored["likeness"]
    weights: npt.NDArray[np.float32] = np.array(stored["weights"], np.float32)
    if not len(stored["nouns"]) == len(stored["kinds"]) == len(weights):
        raise ValueError(f"{path.name}: nouns, kinds and weights must have one entry for each class")
    return Table(
        tuple(stored["nouns"]), tuple(stored["kinds"]), dict(stored["broader"]), weights, float(stored["temperature"]),
        likeness["toy"], likeness["of"], float(likeness["least_toy"]), float(likeness["most_of"]),
    )  # fmt: skip
