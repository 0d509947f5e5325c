"""Precision and recall of the shipped tagger on the development set, through the service's own decoding and scoring.

The set lies outside the repository: photographs of six subjects, a folder each, and pictures out of packages
(`development.toml` names each with the nouns that are right for it). What is drawn here on top holds nothing that the
tagger should name.
"""

from __future__ import annotations

import io
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

from gateway.demo_pictures import KINDS, draw_subject
from services.chassis import pictures
from services.chassis.errors import InvalidArgument
from services.chassis.pictures import PictureLimits
from services.tagger.adapters.decoded_pictures import DRAFT_SIDE, MOST_PIXELS, as_picture
from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.models.pictures import OBJECT, Scores
from services.tagger.models.tags import TagOptions
from services.tagger.use_cases.scoring import predictions
from services.tagger.use_cases.subject import Suggestion, suggest

DEVELOPMENT = Path(__file__).with_name("development.toml")
THRESHOLDS = (0.3, 0.4, 0.5, 0.55, 0.6, 0.7)
_MAX_PIXELS = 64_000_000
_AS_JPEG = (".webp",)


@dataclass(frozen=True)
class Example:
    """A picture's bytes and the nouns that are right for it; none where silence is right."""

    group: str
    name: str
    data: bytes
    right: frozenset[str]


@dataclass(frozen=True)
class Answer:
    """What was said of a picture: raw scores, and the tags of the default options."""

    example: Example
    scores: Scores
    tags: tuple[str, ...]

    def noun(self, threshold: float) -> str:
        """The best noun, "" below the threshold."""
        objects = [score for score in self.scores.scores if score.category == OBJECT]
        best = max(objects, key=lambda score: score.score, default=None)
        return best.label if best is not None and best.score >= threshold else ""


def report(subjects: Path, packages: Path) -> str:
    """The tables of docs/tagging.md, and a line for each picture."""
    given = tomllib.loads(DEVELOPMENT.read_text(encoding="utf-8"))
    examples = [*_subjects(subjects, given["subjects"]), *_packages(packages, given["packages"]), *drawn()]
    tagger, limits = PhotoOnnxTagger(threads=1), PictureLimits(max_pixels=_MAX_PIXELS)
    answers = []
    for example in examples:
        try:
            picture = as_picture(
                pictures.read(example.data, limits, draft_side=DRAFT_SIDE, most_pixels=MOST_PIXELS, keep_alpha=True)
            )
        except InvalidArgument:
            continue
        (scores,) = tagger.infer([picture])
        kept = predictions(scores.scores, tagger.describe(), TagOptions())
        answers.append(Answer(example, scores, tuple(score.label for score in kept)))
    return "\n".join([*_table(answers), "", *_suggestions(answers), "", *_lines(answers)])


def drawn() -> Iterator[Example]:
    """The demo's pictures, flat colours, noise, blobs, stripes, grain and charts."""
    for kind in KINDS:
        for number, (image, _) in enumerate(draw_subject(kind, 5, seed=5)):
            yield _example(f"drawn {kind}", str(number), image)
    rng = np.random.default_rng(0)
    for number in range(30):
        yield _example("texture", str(number), Image.fromarray(_texture(rng, number % 5)))
    for number in range(15):
        yield _example("chart", str(number), _chart(rng, number % 5))


def _texture(rng: np.random.Generator, kind: int) -> npt.NDArray[np.uint8]:
    size = (500, 400)
    noise = rng.integers(0, 256, (400, 500, 3), np.uint8)
    if kind == 0:
        return np.full((400, 500, 3), rng.integers(0, 256, 3), np.uint8)
    if kind == 1:
        return noise
    if kind == 2:
        rows, columns = (int(value) for value in rng.integers(2, 40, 2))
        return np.asarray(Image.fromarray(noise[:rows, :columns]).resize(size, Image.Resampling.BICUBIC))
    if kind == 3:
        across, down = np.meshgrid(np.arange(500), np.arange(400))
        wave = np.sin((across * rng.normal() + down * rng.normal()) / rng.integers(3, 40)) > 0
        return np.where(wave[..., None], rng.integers(0, 256, 3), rng.integers(0, 256, 3)).astype(np.uint8)
    grain = Image.fromarray(noise[:100, :125]).resize(size)
    return np.asarray(grain.filter(ImageFilter.GaussianBlur(int(rng.integers(1, 12)))))


def _chart(rng: np.random.Generator, kind: int) -> Image.Image:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4))
    axes = figure.subplots()
    if kind == 0:
        axes.plot(rng.normal(size=(50, 3)).cumsum(0))
    elif kind == 1:
        axes.bar(range(8), rng.random(8))
    elif kind == 2:
        axes.imshow(rng.random((12, 12)))
    elif kind == 3:
        axes.scatter(*rng.normal(size=(2, 80)))
    else:
        axes.pie(rng.random(5))
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return Image.open(buffer)


def _subjects(folder: Path, right: dict[str, str]) -> Iterator[Example]:
    for name, nouns in right.items():
        for path in sorted((folder / name).iterdir()):
            yield Example(name, path.name, path.read_bytes(), _items(nouns))


def _packages(folder: Path, right: dict[str, str]) -> Iterator[Example]:
    """Every file that is named; those that were not unpacked are passed over."""
    for name, nouns in right.items():
        path = folder / name
        if path.is_file():
            with Image.open(path) as image:
                reduced = ImageOps.exif_transpose(image).convert("RGB")
            reduced.thumbnail((1600, 1600), Image.Resampling.BOX)
            yield _example("packages", name, reduced, _items(nouns), quality=92)


def _example(
    group: str, name: str, image: Image.Image, right: frozenset[str] = frozenset(), *, quality: int = 0
) -> Example:
    buffer = io.BytesIO()
    rgb = image.convert("RGB")
    rgb.save(buffer, "JPEG", quality=quality) if quality else rgb.save(buffer, "PNG")
    return Example(group, name, buffer.getvalue(), right)


def _items(nouns: str) -> frozenset[str]:
    return frozenset(noun.strip() for noun in nouns.split(",") if noun.strip())


def _table(answers: list[Answer]) -> Iterator[str]:
    named = [answer for answer in answers if answer.example.right]
    silent = [answer for answer in answers if not answer.example.right]
    yield f"{len(named)} pictures with a noun, {len(silent)} without"
    yield "| threshold | right | wrong | said without need | precision | recall |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for threshold in THRESHOLDS:
        said = [(answer, answer.noun(threshold)) for answer in named]
        right = sum(noun in answer.example.right for answer, noun in said)
        wrong = sum(bool(noun) and noun not in answer.example.right for answer, noun in said)
        needless = sum(bool(answer.noun(threshold)) for answer in silent)
        total = max(1, right + wrong + needless)
        yield f"| {threshold} | {right} | {wrong} | {needless} | {right / total:.2f} | {right / len(named):.2f} |"


def _suggestions(answers: list[Answer]) -> Iterator[str]:
    groups = dict.fromkeys(answer.example.group for answer in answers if answer.example.group != "packages")
    for group in groups:
        suggestion: Suggestion = suggest([answer.scores for answer in answers if answer.example.group == group])
        best = ", ".join(f"{each.noun} {each.score:.2f}" for each in suggestion.candidates)
        yield f"{group}: {suggestion.question} [{suggestion.agreeing} of {suggestion.pictures}; {best}]"


def _lines(answers: list[Answer]) -> Iterator[str]:
    for answer in answers:
        if answer.tags or answer.example.right:
            right = ", ".join(sorted(answer.example.right)) or "nothing"
            yield f"{answer.example.group}/{answer.example.name} [{right}]: {', '.join(answer.tags) or '(silent)'}"
