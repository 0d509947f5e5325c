"""Two datasets train one LoRA, by their weights; the user's own regularisation pictures are mixed in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from services.trainer.engine.batches import epoch_steps
from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import Command, EpochResult, Hooks, TrainedDataset, TrainItem, TrainJobSpec
from services.trainer.engine.preparation import prepare
from services.trainer.engine.processes import Processes
from services.trainer.engine.train_loop import train
from services.trainer.engine.warm import Warm
from tests.fixtures.training_jobs import TRIGGER_WORD, draw_item, losses_of

MakeSpec = Callable[..., TrainJobSpec]
TWO = (TrainedDataset("red", "aa", TRIGGER_WORD, "ball"), TrainedDataset("blue", "bb", "qux", "disc"))
QUICK: dict[str, Any] = {"num_epochs": 1, "preview_steps": 1, "num_repeats": 3}


def trained(spec: TrainJobSpec, **hooks: Any) -> list[EpochResult]:
    epochs: list[EpochResult] = []
    train(replace(spec, sample_base_previews=False), Hooks(on_epoch=epochs.append, **hooks))
    return epochs


@pytest.fixture
def both(items: tuple[TrainItem, ...], tmp_path: Path) -> tuple[TrainItem, ...]:
    """Three pictures of the first dataset and one, of twice the weight, of the second."""
    other = replace(draw_item(tmp_path, 7, (64, 64)), caption="qux disc, black", dataset=1, weight=2.0)
    return (*items, other)


@pytest.fixture
def own(tmp_path: Path) -> tuple[TrainItem, ...]:
    """Two regularisation pictures, wide and tall, with their class as the text."""
    folder = tmp_path / "own"
    folder.mkdir()
    drawn = [draw_item(folder, number, size) for number, size in ((3, (80, 40)), (4, (40, 80)))]
    return tuple(replace(each, caption="ball") for each in drawn)


def test_the_steps_of_an_epoch_are_shared_by_weight_and_its_file_says_of_what(
    make_spec: MakeSpec, both: tuple[TrainItem, ...]
) -> None:
    spec = make_spec(job={"items": both, "datasets": TWO, "sample_base_previews": False}, **QUICK)
    run = prepare(spec, Hooks(), Processes(), Warm())
    drawn = [
        number
        for step in epoch_steps(run.plan.buckets, spec.parameters, 0)
        for forward in step
        for number in forward.items
    ]
    # Four pictures, three times each: a third of that for the first three, the rest for the last.
    assert (sum(number < 3 for number in drawn), drawn.count(3)) == (4, 8)

    (epoch,) = trained(spec)
    with safe_open(epoch.artifacts[0].path, "numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata["ss_dataset_dirs"]) == {
        "red": {"n_repeats": 1, "img_count": 3},
        "blue": {"n_repeats": 8, "img_count": 1},
    }
    frequencies = json.loads(metadata["ss_tag_frequency"])
    assert frequencies["blue"] == {"qux disc": 1, "black": 1}
    assert frequencies["red"][TRIGGER_WORD] == 3
    assert metadata["modelspec.trigger_phrase"] == f"{TRIGGER_WORD}, qux"
    assert json.loads(metadata["fiveshot.dataset_digests"]) == {"red": "aa", "blue": "bb"}


def test_each_dataset_is_preserved_by_its_own_trigger_word_and_subject(
    make_spec: MakeSpec, both: tuple[TrainItem, ...]
) -> None:
    job = {"items": both, "datasets": TWO, "sample_base_previews": False}
    run = prepare(make_spec(job=job, **QUICK, preservation_weight=1.0), Hooks(), Processes(), Warm())
    assert run.preserved[0] == "ball, a red ball"
    assert run.preserved[3] == "disc, black"


def test_a_paused_job_of_two_datasets_goes_on_bitwise_and_not_as_another_mix(
    make_spec: MakeSpec, both: tuple[TrainItem, ...], own: tuple[TrainItem, ...]
) -> None:
    job: dict[str, Any] = {"items": both, "datasets": TWO, "regularization": own}
    asked = {**QUICK, "regularization_fraction": 1.0}
    (whole,) = trained(make_spec("whole", job=job, **asked))
    steps = iter([Command.CONTINUE, Command.PAUSE])
    result = train(
        replace(make_spec("halves", job=job, **asked), sample_base_previews=False),
        Hooks(control=lambda: next(steps)),
    )
    goes_on = {**job, "resume_from": result.checkpoint_dir}
    heavier = tuple(replace(item, weight=3.0) if item.dataset else item for item in both)
    for changed in ({"items": heavier}, {"regularization": own[:1]}):
        with pytest.raises(EngineError) as refused:
            trained(make_spec("others", job={**goes_on, **changed}, **asked))
        assert refused.value.reason == "CHECKPOINT_FOREIGN"
    (again,) = trained(make_spec("halves", job=goes_on, **asked))
    assert again.artifacts[0].sha256 == whole.artifacts[0].sha256


def test_own_regularisation_pictures_are_trained_with_their_own_words_and_weight(
    make_spec: MakeSpec, own: tuple[TrainItem, ...]
) -> None:
    job = {"regularization": own}
    asked = {**QUICK, "regularization_fraction": 1.0}
    run = prepare(make_spec(job={**job, "sample_base_previews": False}, **asked), Hooks(), Processes(), Warm())
    assert run.regularization_captions == ("ball", "ball")
    # In each shape that photos have, both.
    assert [len(bucket.regularization_rows) for bucket in run.latents] == [2] * len(run.plan.buckets)
    plain = losses_of(make_spec("plain", **QUICK))
    mixed = losses_of(make_spec("mixed", job=job, **asked))
    heavy = losses_of(make_spec("heavy", job=job, **asked, prior_weight=3.0))
    assert len(plain) == len(mixed) == len(heavy)
    assert mixed[0] != plain[0]
    assert heavy[0] > mixed[0]
