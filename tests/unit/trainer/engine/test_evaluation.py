"""Recommendation from evaluations, likeness of previews, and what people look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from services.trainer.engine.evaluation import Evaluator, Example
from services.trainer.engine.families import load_family
from services.trainer.engine.job import BaseModelFiles, Evaluation
from services.trainer.engine.lora import add_adapters, trained_weights
from services.trainer.engine.output import contact_sheet, loss_plot, running_mean
from services.trainer.engine.recommendation import recommend
from services.trainer.recipe.parameters import TrainingParameters

Make = Callable[..., TrainingParameters]


def evaluation(
    fit: float,
    drift: float = 0.0,
    held_out: float | None = None,
    memorisation: float = 0.5,
    moved: float | None = None,
) -> Evaluation:
    return Evaluation(fit, 1.0, held_out, None if held_out is None else 1.0, drift, memorisation, moved, 1.0)


@pytest.mark.parametrize(
    ("evaluations", "epoch", "words"),
    [
        ([evaluation(0.8), evaluation(0.6), evaluation(0.5)], 3, "still getting better"),
        ([evaluation(0.6), evaluation(0.5), evaluation(0.499)], 2, "at most slightly better"),
        ([evaluation(0.6), evaluation(0.5, 0.1), evaluation(0.45, 0.9)], 2, "change other prompts more"),
        ([evaluation(0.5, held_out=0.7), evaluation(0.3, held_out=0.8)], 1, "fit less well"),
        ([evaluation(0.5), evaluation(0.2, memorisation=1.0)], 2, "close to a copy"),
        ([evaluation(0.6, moved=0.8), evaluation(0.5, moved=0.83), evaluation(0.3, moved=0.85)], 2, "From epoch 3 on"),
        ([evaluation(0.6, moved=0.8), evaluation(0.5, moved=0.82), evaluation(0.4, moved=0.83)], 3, "getting better"),
        ([evaluation(0.6, held_out=0.7, moved=0.5), evaluation(0.5, held_out=0.6, moved=0.9)], 2, "getting better"),
    ],
)
def test_an_epoch_is_recommended_with_its_reason(evaluations: list[Evaluation], epoch: int, words: str) -> None:
    recommendation = recommend(evaluations)
    assert recommendation.epoch == epoch
    assert words in recommendation.reason
    assert f"Epoch {epoch} removes" in recommendation.reason


def test_numbers_move_with_the_weights_and_likeness_sees_copies(base_model: BaseModelFiles, parameters: Make) -> None:
    family = load_family(base_model, torch.device("cpu"), torch.float32)
    torch.manual_seed(1)
    training = [Example(torch.randn(1, 4, 8, 8), "a"), Example(torch.randn(1, 4, 8, 16), "b")]
    held_out, neutral = Example(torch.randn(1, 4, 8, 8), "c"), [Example(torch.randn(1, 4, 8, 8), "d")]
    moved_views = [Example(torch.randn(1, 4, 8, 8), "a")]
    evaluator = Evaluator(family, 1, "no", training, moved_views, held_out, neutral)
    carriers = add_adapters(family, parameters())
    other = torch.randn(3, 4, 8, 8)
    fresh = evaluator.measure(other)
    assert fresh.drift == 0.0
    assert fresh.fit_loss == fresh.base_fit_loss
    assert fresh.held_out_loss == fresh.base_held_out_loss
    assert fresh.moved_loss == fresh.base_moved_loss
    assert fresh.memorisation < 0.9
    assert evaluator.measure(training[0].latent).memorisation == pytest.approx(1.0, abs=1e-4)
    assert evaluator.measure(training[0].latent.flip(-1)).memorisation == pytest.approx(1.0, abs=1e-4)
    for weight in trained_weights(carriers).values():
        weight.data += 0.1 * torch.randn_like(weight)
    moved = evaluator.measure(other)
    assert moved.drift > 0.0
    assert moved.fit_loss != fresh.fit_loss
    assert moved.moved_loss != fresh.moved_loss
    assert moved == evaluator.measure(other)


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
