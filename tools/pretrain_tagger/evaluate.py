"""Measures the tagger as it is shipped: the ONNX file, its thresholds and the service's own scoring."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from services.tagger.adapters.drawn_onnx import DrawnOnnxTagger
from services.tagger.models import Picture, TagOptions
from services.tagger.use_cases.scoring import predictions
from tools.pretrain_tagger import blind_renderer
from tools.pretrain_tagger.export import CATEGORIES
from tools.pretrain_tagger.facts import QUESTIONS, Facts

_ALL_TAGS = TagOptions(max_tags=200)


@dataclass
class Counts:
    """How often a label was given rightly, given wrongly, and missing."""

    right: int = 0
    wrong: int = 0
    missing: int = 0

    @property
    def precision(self) -> float:
        """Of those given; 1 when none was."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """Of those that are true."""
        return self.right / (self.right + self.missing) if self.right + self.missing else 1.0


@dataclass
class Report:
    """Counts per category and label. silent: pictures that the gate refused."""

    pictures: int = 0
    silent: int = 0
    labels: dict[str, dict[str, Counts]] = field(default_factory=dict)

    def total(self, category: str) -> Counts:
        """All labels of a category together."""
        counts = self.labels[category].values()
        return Counts(sum(c.right for c in counts), sum(c.wrong for c in counts), sum(c.missing for c in counts))


def evaluate_drawn(tagger: DrawnOnnxTagger, drawn: Iterable[tuple[Image.Image, Facts]]) -> Report:
    """Counts over drawn pictures with facts."""
    report = Report()
    for question, answers in QUESTIONS.items():
        report.labels[CATEGORIES.get(question, question)] = {answer: Counts() for answer in answers if answer}
    for image, facts in drawn:
        given, silent = tags_of(tagger, image)
        report.pictures += 1
        report.silent += silent
        for question in QUESTIONS:
            category = CATEGORIES.get(question, question)
            true = getattr(facts, question)
            found = given.get(category, "")
            counts = report.labels[category]
            if found and found == true:
                counts[found].right += 1
                continue
            if found:
                counts[found].wrong += 1
            if true:
                counts[true].missing += 1
    return report


def false_tags(tagger: DrawnOnnxTagger, images: Iterable[Image.Image]) -> tuple[int, int, Counter[str]]:
    """Over pictures from outside: how many, how many the gate let in, and which tags were given."""
    count = let_in = 0
    labels: Counter[str] = Counter()
    for image in images:
        given, silent = tags_of(tagger, image)
        count += 1
        let_in += not silent
        labels.update(given.values())
    return count, let_in, labels


def tags_of(tagger: DrawnOnnxTagger, image: Image.Image) -> tuple[dict[str, str], bool]:
    """The label given per category, and whether the gate refused the picture."""
    (scores,) = tagger.infer([Picture(np.asarray(image.convert("RGB"), np.uint8), None, *image.size)])
    kept = predictions(scores.scores, tagger.describe(), _ALL_TAGS)
    return {score.category: score.label for score in kept}, scores.outside_domain


def blind_scenes(count: int, *, seed: int = 0) -> Iterable[tuple[Image.Image, Facts]]:
    """Scenes of the renderer whose author saw no other drawing; every other one a JPEG, as pictures often are."""
    for number in range(count):
        rng = random.Random(f"blind/{seed}/{number}")
        image, facts = blind_renderer.draw_scene(rng)
        yield (_as_jpeg(image, rng.randint(80, 95)) if number % 2 else image), facts


def _as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def views_of_photographs(paths: Iterable[Path], views: int, *, seed: int = 0) -> Iterable[Image.Image]:
    """Each photograph whole, then cut, mirrored, reduced and lit at random, as users' pictures vary."""
    rng = random.Random(seed)
    for path in paths:
        photo = Image.open(path).convert("RGB")
        yield photo
        for _ in range(views - 1):
            side = rng.uniform(0.3, 1.0) * min(photo.size)
            left, top = rng.uniform(0, photo.width - side), rng.uniform(0, photo.height - side)
            view = photo.crop((round(left), round(top), round(left + side), round(top + side)))
            if rng.random() < 0.5:
                view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            gain = rng.uniform(0.6, 1.3)
            view = view.point(lambda value, gain=gain: min(255, int(value * gain)))
            if rng.random() < 0.5:
                small = rng.randint(64, 200)
                view = view.resize((small, small), Image.Resampling.LANCZOS)
            yield view


def as_markdown(report: Report) -> str:
    """Tables for docs/tagging.md: categories, then every label."""
    lines = ["| category | precision | recall | labels |", "| --- | --- | --- | --- |"]
    for category, labels in report.labels.items():
        total = report.total(category)
        lines.append(f"| {category} | {total.precision:.3f} | {total.recall:.3f} | {len(labels)} |")
    lines += ["", "| label | category | precision | recall | scenes |", "| --- | --- | --- | --- | --- |"]
    for category, labels in report.labels.items():
        for label, counts in labels.items():
            scenes = counts.right + counts.missing
            precision = f"{counts.precision:.2f}" if counts.right + counts.wrong else "never given"
            lines.append(f"| {label} | {category} | {precision} | {counts.recall:.2f} | {scenes} |")
    return "\n".join(lines)
