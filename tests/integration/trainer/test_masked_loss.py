"""Training with masks on the miniature: what is refused, and the same bytes after a pause."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import Command, EpochResult, Hooks, RunStatus, TrainItem, TrainJobSpec
from services.trainer.engine.preparation import prepare
from services.trainer.engine.processes import Processes
from services.trainer.engine.train_loop import train
from services.trainer.engine.warm import Warm

MakeSpec = Callable[..., TrainJobSpec]
BOX = (8, 8, 39, 39)


@pytest.fixture(scope="module")
def masked_items(items: tuple[TrainItem, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainItem, ...]:
    """The first picture with the mask of its middle, the others without."""
    path = tmp_path_factory.mktemp("masks") / "mask.png"
    mask = Image.new("L", (48, 48))
    ImageDraw.Draw(mask).rectangle(BOX, fill=255)
    mask.save(path)
    return (replace(items[0], mask_path=path), *items[1:])


def test_masks_are_part_of_the_job_and_it_resumes_to_the_same_bytes(
    make_spec: MakeSpec, masked_items: tuple[TrainItem, ...], tmp_path: Path
) -> None:
    job = {"items": masked_items}
    changes = {"masked_loss": True, "flip": True, "crop_variants": 2, "crop_jitter": 0.2}

    def last(spec: TrainJobSpec) -> EpochResult:
        epochs: list[EpochResult] = []
        assert train(spec, Hooks(on_epoch=epochs.append)).status is RunStatus.COMPLETED
        return epochs[-1]

    steps = iter([Command.CONTINUE] * 2 + [Command.PAUSE])
    paused = train(make_spec("first", job=job, **changes), Hooks(control=lambda: next(steps)))
    assert paused.checkpoint_dir is not None
    shutil.copytree(paused.checkpoint_dir, tmp_path / "moved")
    resume = {"resume_from": tmp_path / "moved"}
    whole, resumed = last(make_spec("whole", job=job, **changes)), last(make_spec("rest", job=job | resume, **changes))
    assert [file.sha256 for file in whole.artifacts] == [file.sha256 for file in resumed.artifacts]
    assert whole.evaluation == resumed.evaluation
    unmasked = (replace(masked_items[0], mask_path=None), *masked_items[1:])
    for other in ({"items": unmasked}, job | {}):
        more = {"unmasked_weight": 0.3} if other["items"] is masked_items else {}
        with pytest.raises(EngineError) as refused:
            train(make_spec("other", job=other | resume, **changes, **more), Hooks())
        assert refused.value.reason == "CHECKPOINT_FOREIGN"


def test_a_crop_beside_the_mask_is_refused_by_name(make_spec: MakeSpec, masked_items: tuple[TrainItem, ...]) -> None:
    beside = (replace(masked_items[0], crop=(0.0, 0.0, 0.1, 0.1)), *masked_items[1:])
    with pytest.raises(EngineError, match=r"crop of picture-0\.png shows nothing") as refused:
        prepare(make_spec(job={"items": beside}, masked_loss=True), Hooks(), Processes(), Warm())
    assert refused.value.reason == "MASK_OUTSIDE_CROP"
