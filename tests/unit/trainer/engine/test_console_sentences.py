"""Every reason and notice that the engine can give is known to the console in Chinese."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from services.trainer.engine.job import Evaluation
from services.trainer.engine.micro_batches import in_parts
from services.trainer.engine.recommendation import Named, recommend

RULES = Path(__file__).parents[4] / "gateway" / "console" / "src" / "lib" / "strings" / "zhTold.ts"


def left_over(text: str) -> str:
    """What of a text no rule of the page knows."""
    patterns = re.findall(r"^  \[/(.+)/, '", RULES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(patterns) > 15
    for pattern in patterns:
        text = re.sub(pattern, "", text)
    return text.strip()


def evaluations() -> list[list[Evaluation]]:
    """Courses of a training: hardly learnt, learnt by heart, drifted, copied, better to the end, better before it."""
    found = []
    for fits, held, moved, drift, copied in product(
        ((1.0, 0.99), (1.0, 1.3), (0.9, 0.5), (0.5, 0.9), (0.5, 0.45, 0.4)),
        (None, 1.2, 0.5),
        ((0.5, 0.5, 0.5), (0.5, 0.9, 0.9)),
        (0.0, 0.3),
        (0.0, 0.9),
    ):
        base = None if held is None else 1.0
        found.append(
            [Evaluation(fit, 1.0, held, base, drift, copied, loss, 1.0) for fit, loss in zip(fits, moved, strict=False)]
        )
    return found


@pytest.mark.parametrize("finished", [True, False])
def test_every_reason_of_a_recommendation_is_known(finished: bool) -> None:
    named = Named(hardly_learnt=["a.png", "b, c.png"], by_heart=["<b>.png"])
    reasons = {recommend(each, finished=finished, pictures=named).reason for each in evaluations()}
    assert len(reasons) > 5
    assert {reason: left_over(reason) for reason in reasons if left_over(reason)} == {}


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_the_notice_of_parts_is_known(micro_batch: int) -> None:
    assert left_over(in_parts(micro_batch).text) == ""


def test_what_no_rule_knows_is_left() -> None:
    assert left_over("Epoch 2 is new.") == "Epoch 2 is new."
