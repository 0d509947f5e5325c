"""Which pictures are learnt unlike the others, from the losses of the steps."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from services.trainer.engine.picture_losses import Counts, PictureLosses, Unlike, unlike_the_others
from services.trainer.engine.processes import Processes

ALONE = Processes()


def trained(*falls: float, epochs: int = 6, samples: int = 32, spread: float = 0.3) -> list[Counts]:
    """Counts of a run in which the loss of each picture falls by so much, whatever the noise level costs."""
    draw = torch.Generator().manual_seed(1)
    counting = PictureLosses(len(falls), torch.device("cpu"))
    found = []
    for epoch in range(epochs):
        for _ in range(samples):
            level = torch.rand(len(falls) + 1, generator=draw)
            left = torch.tensor([*(1 - fall * epoch / (epochs - 1) for fall in falls), 1.0])
            noise = 1 + spread * torch.randn(len(left), generator=draw)
            counting.add([*range(len(falls)), -1], level, left * noise * (0.2 + level))
        found.append(counting.counted(ALONE))
        counting.start()
    return found


@pytest.mark.parametrize(
    ("falls", "expected"),
    [
        ((0.4, 0.4, 0.4, 0.4, 0.4), Unlike((), ())),
        ((0.4, 0.4, 0.0, 0.4, 0.4), Unlike((2,), ())),
        ((0.2, 0.9, 0.2, 0.2, 0.2), Unlike((), (1,))),
        ((0.4, 0.0), Unlike((), ())),
    ],
)
def test_a_picture_that_falls_unlike_the_others_is_named(falls: Sequence[float], expected: Unlike) -> None:
    assert unlike_the_others(trained(*falls)) == expected


@pytest.mark.parametrize("changes", [{"epochs": 1}, {"samples": 2}, {"spread": 2.0}])
def test_what_chance_explains_is_not_named(changes: dict[str, float]) -> None:
    if changes.get("epochs") == 1:
        assert unlike_the_others(trained(0.4, 0.4, 0.0, 0.4, epochs=2)[:1]) == Unlike((), ())
        return
    assert unlike_the_others(trained(0.3, 0.3, 0.1, 0.3, **changes)) == Unlike((), ())  # type: ignore[arg-type]


def test_an_epoch_goes_on_where_its_checkpoint_was_written() -> None:
    whole, parts = (PictureLosses(2, torch.device("cpu")) for _ in range(2))
    first, second = torch.tensor([0.5, 0.25]), torch.tensor([0.75, 0.125])
    level = torch.tensor([0.1, 0.9])
    whole.add([0, 1], level, first)
    whole.add([1, -1], level, second)
    parts.add([0, 1], level, first)
    kept = parts.counted(ALONE)
    resumed = PictureLosses(2, torch.device("cpu"))
    resumed.start(kept)
    resumed.add([1, -1], level, second)
    assert resumed.counted(ALONE) == whole.counted(ALONE)
