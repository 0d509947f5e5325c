"""Training gives the recorded loss curves."""

from __future__ import annotations

import json

import pytest

from tests.golden.trainer_losses import CASES, FILE, losses


@pytest.mark.parametrize("case", CASES)
def test_the_loss_curve_is_the_recorded_one(case: str) -> None:
    """The tolerance is for other processors' rounding; a changed draw, weight or order moves losses by far more."""
    golden = json.loads(FILE.read_text(encoding="utf-8"))[case]
    assert len(golden) >= 9
    assert losses(case) == pytest.approx(golden, rel=2e-3)
