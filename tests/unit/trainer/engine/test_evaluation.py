"""Recommendation from evaluations, likeness of previews, and what people look at."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image, ImageChops, ImageDraw, ImageOps

from services.trainer.engine.copies import COPY_LIKENESS, CopyDetector
from services.trainer.engine.evaluation import Evaluator, Example
from services.trainer.engine.families import load_family
from services.trainer.engine.job import BaseModelFiles, Evaluation
from services.trainer.engine.lora import add_adapters, trained_weights
from services.trainer.engine.output import contact_sheet, loss_plot, running_mean
from services.trainer.engine.previews import largest_change
from services.trainer.engine.recommendation import Named, recommend
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.workload import EvaluationSamples

Make = Callable[..., TrainingParameters]


def evaluation(
    fit: float,
    drift: float = 0.0,
    held_out: float | None = None,
    memorisation: float = 0.5,
    moved: float | None = None,
    change: float | None = None,
) -> Evaluation:
    base = None if held_out is None else 1.0
    return Evaluation(fit, 1.0, held_out, base, drift, memorisation, moved, 1.0, change)


@pytest.mark.parametrize(
    ("evaluations", "epoch", "words"),
    [
        ([evaluation(0.8), evaluation(0.6), evaluation(0.5)], 3, "Epoch 3 shows your subject best and still follows"),
        ([evaluation(0.8), evaluation(0.6), evaluation(0.5)], 3, "still getting better at the end"),
        ([evaluation(0.6), evaluation(0.5), evaluation(0.53)], 3, "Epoch 3 shows your subject best"),
        ([evaluation(0.6), evaluation(0.5), evaluation(0.58)], 2, "later ones are worse"),
        (
            [evaluation(0.6), evaluation(0.5, 0.1), evaluation(0.45, 0.9)],
            2,
            "changes pictures without it as well, by 10%",
        ),
        ([evaluation(0.5, held_out=0.7), evaluation(0.3, held_out=0.8)], 1, "later ones are worse"),
        ([evaluation(0.5), evaluation(0.2, memorisation=1.0)], 2, "nearly a copy of a photo"),
        (
            [evaluation(0.6, moved=0.8), evaluation(0.5, moved=0.82), evaluation(0.46, moved=0.95)],
            2,
            "later ones repeat",
        ),
        # What is hard to move: the photos themselves gain more than their moved views lose.
        (
            [evaluation(0.6, moved=0.8), evaluation(0.5, moved=0.83), evaluation(0.3, moved=0.85)],
            3,
            "shows your subject",
        ),
        (
            [evaluation(0.6, moved=0.8), evaluation(0.5, moved=0.82), evaluation(0.4, moved=0.83)],
            3,
            "shows your subject",
        ),
        ([evaluation(0.6, held_out=0.7, moved=0.5), evaluation(0.5, held_out=0.6, moved=0.9)], 2, "shows your subject"),
        (
            [evaluation(0.995), evaluation(0.99)],
            2,
            "Nothing was learnt: the pictures of every epoch are those of the base",
        ),
        (
            [evaluation(1.1), evaluation(1.4)],
            1,
            "Nothing of your subject was learnt, although the pictures change. Lower",
        ),
        (
            [evaluation(0.99, 0.3), evaluation(1.0, 0.9)],
            1,
            "change, by 90% where it has no part. Lower the learning rate.",
        ),
        (
            [evaluation(0.6, held_out=1.01), evaluation(0.5, held_out=1.0)],
            2,
            "No epoch shows your subject in new pictures",
        ),
        ([evaluation(0.9, moved=1.0), evaluation(0.8, moved=1.04)], 2, "No epoch shows your subject in new pictures"),
        ([evaluation(0.6, held_out=0.975), evaluation(0.5, held_out=0.985)], 1, "Epoch 1 shows your subject best"),
        ([evaluation(0.6, moved=0.97), evaluation(0.5, moved=1.01)], 1, "Epoch 1 shows your subject best"),
        ([evaluation(0.9, change=0.004), evaluation(0.8, change=0.015)], 2, "hardly differ from the base model's"),
        ([evaluation(0.9, change=0.01), evaluation(0.8, change=0.03)], 2, "and still follows prompts"),
    ],
)
def test_an_epoch_is_recommended_with_its_reason(evaluations: list[Evaluation], epoch: int, words: str) -> None:
    recommendation = recommend(evaluations, finished=True)
    assert recommendation.epoch == epoch
    assert words in recommendation.reason


def test_pictures_that_are_learnt_unlike_the_others_are_named() -> None:
    named = Named(hardly_learnt=["IMG_3.jpg"], by_heart=["IMG_1.jpg", "IMG_7.jpg"])
    reason = recommend([evaluation(0.8)], finished=True, pictures=named).reason
    assert "Hardly learnt: IMG_3.jpg; look at caption and crop." in reason
    assert "Learnt by heart: IMG_1.jpg, IMG_7.jpg; lower its repeats." in reason


@pytest.mark.parametrize(
    "evaluations",
    [
        [evaluation(0.995)],
        [evaluation(1.4, 0.5)],
        [evaluation(0.8)],
        [evaluation(0.6, held_out=1.0)],
        [evaluation(0.8), evaluation(0.6)],
        [evaluation(0.8, change=0.001)],
        [evaluation(0.8, 0.2, memorisation=0.9)],
    ],
)
def test_in_the_middle_of_a_run_nothing_is_advised_for_the_next(evaluations: list[Evaluation]) -> None:
    reason = recommend(evaluations, finished=False).reason
    assert not any(word in reason for word in ("more", "Raise", "Lower", "Add"))


def test_numbers_move_with_the_weights(base_model: BaseModelFiles, parameters: Make) -> None:
    family = load_family(base_model, torch.device("cpu"), torch.float32)
    torch.manual_seed(1)
    training = [Example(torch.randn(1, 4, 8, 8), "a"), Example(torch.randn(1, 4, 8, 16), "b")]
    held_out, neutral = Example(torch.randn(1, 4, 8, 8), "c"), [Example(torch.randn(1, 4, 8, 8), "d")]
    moved_views = [Example(torch.randn(1, 4, 8, 8), "a")]
    photo, preview = noise_picture(1), noise_picture(2)
    samples = EvaluationSamples(fit=5, moved=4, held_out=4, drift=4)
    evaluator = Evaluator(
        family, 1, "no", samples, training, moved_views, [held_out], neutral, CopyDetector([photo])
    )  # fmt: skip
    carriers = add_adapters(family, parameters())
    fresh = evaluator.measure([preview])
    assert fresh.drift == 0.0
    assert fresh.photo_error == fresh.unseen_error == 1.0
    assert fresh.moved_loss == fresh.base_moved_loss
    assert fresh.memorisation < 0.6
    assert evaluator.measure([preview, photo]).memorisation == pytest.approx(1.0, abs=1e-4)
    for weight in trained_weights(carriers).values():
        weight.data += 0.1 * torch.randn_like(weight)
    moved = evaluator.measure([preview])
    assert moved.drift > 0.0
    assert moved.fit_loss != fresh.fit_loss
    assert moved.moved_loss != fresh.moved_loss
    assert moved.held_out_loss != fresh.held_out_loss
    assert moved == evaluator.measure([preview])


@pytest.mark.parametrize("pictures", [1, 5, 9, 40])
def test_every_measure_sees_noise_levels_over_the_whole_range(base_model: BaseModelFiles, pictures: int) -> None:
    family = load_family(base_model, torch.device("cpu"), torch.float32)
    seen: list[float] = []
    schedule = family.schedule
    timesteps = schedule.timesteps

    def watched(position: torch.Tensor) -> torch.Tensor:
        seen.extend(position.tolist())
        return timesteps(position)

    schedule.timesteps = watched  # type: ignore[method-assign]
    training = [Example(torch.randn(1, 4, 8, 8), "a")] * pictures
    Evaluator(family, 1, "no", EvaluationSamples(5, 0, 0, 0), training, [], [], [], CopyDetector([noise_picture(1)]))
    assert sorted({round(level, 3) for level in seen}) == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


def test_previews_are_compared_with_the_base_models_own() -> None:
    grey, lighter, red = (
        Image.new("RGB", (8, 8), colour) for colour in ((100, 100, 100), (151, 151, 151), (151, 0, 0))
    )
    assert largest_change([grey, grey], [grey, lighter]) == pytest.approx(0.2)
    assert largest_change([grey], [red]) == pytest.approx((51 + 100 + 100) / 255 / 3)
    assert largest_change([], [grey]) is None
    assert largest_change([Image.new("RGB", (4, 4))], [grey]) is None


def noise_picture(seed: int) -> Image.Image:
    """Blobs on a plain ground, so that there is a composition."""
    draw = random.Random(seed)
    picture = Image.new("RGB", (64, 64), (90, 90, 90))
    for _ in range(6):
        left, top, size = draw.uniform(4, 44), draw.uniform(4, 44), draw.uniform(8, 26)
        colour = tuple(draw.randrange(256) for _ in range(3))
        ImageDraw.Draw(picture).ellipse((left, top, left + size, top + size), colour)
    return picture


@pytest.mark.parametrize("change", ["same", "moved", "farther", "nearer", "mirrored", "recoloured", "darker"])
def test_a_preview_that_is_a_changed_training_picture_counts_as_a_copy(change: str) -> None:
    photo = noise_picture(3)
    changed = {
        "same": lambda: photo,
        "moved": lambda: ImageChops.offset(photo, 8, 0),
        "farther": lambda: ImageOps.expand(photo, 8, (90, 90, 90)),
        "nearer": lambda: ImageOps.crop(photo, 6),
        "mirrored": lambda: ImageOps.mirror(photo),
        "recoloured": lambda: Image.merge("RGB", photo.split()[::-1]),
        "darker": lambda: photo.point(lambda value: value * 0.6),
    }[change]()
    detector = CopyDetector([noise_picture(4), photo])
    assert detector.likeness([noise_picture(5), changed]) >= COPY_LIKENESS
    assert detector.likeness([noise_picture(5), noise_picture(6)]) < 0.7
    assert detector.likeness([Image.new("RGB", (64, 64), "white")]) == 0.0


def test_the_contact_sheet_shows_training_pictures_above_a_row_for_each_epoch(tmp_path: Path) -> None:
    rows = []
    for number, colour in enumerate(["red", "lime"]):
        files = []
        for place in range(3):
            path = tmp_path / f"{number}-{place}.png"
            Image.new("RGB", (64, 64), colour).save(path)
            files.append(path)
        rows.append((f"epoch {number}", files))
    photos = [Image.new("RGB", size, "blue") for size in [(200, 100), (100, 200), (90, 90), (50, 50)]]
    contact_sheet(photos, rows, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as opened:
        sheet = numpy.asarray(opened.convert("RGB"))
    counts = {
        name: int((sheet == numpy.array(colour)).all(axis=2).sum())
        for name, colour in {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}.items()
    }
    assert counts["red"] == counts["lime"] == 3 * 128 * 128
    assert counts["blue"] > 2 * 128 * 128
    red_rows = numpy.nonzero((sheet == (255, 0, 0)).all(axis=2))[0]
    assert numpy.nonzero((sheet == (0, 255, 0)).all(axis=2))[0].min() > red_rows.max()


def test_the_loss_plot_is_a_picture_and_its_mean_is_right(tmp_path: Path) -> None:
    assert running_mean([1.0, 2.0, 3.0, 4.0], 2).tolist() == [1.0, 1.5, 2.5, 3.5]
    assert running_mean([4.0], 10).tolist() == [4.0]
    loss_plot([1.0, 0.5, 0.4, 0.3], 2, tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as opened:
        assert opened.format == "PNG"
        assert opened.width > 600
