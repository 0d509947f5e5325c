"""What a run promises: exact steps, the same bytes twice and after a pause, directives obeyed, clear failures."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from services.trainer.engine import preparation, train_loop
from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import (
    BaseModelFiles,
    Command,
    EpochResult,
    Hooks,
    RunStatus,
    StepMetrics,
    TrainItem,
    TrainJobSpec,
)
from services.trainer.engine.out_of_memory import out_of_memory_named
from services.trainer.engine.train_loop import train
from services.trainer.recipe.plan import PictureSize, plan_job
from services.trainer.worker.pictures import size_of

MakeSpec = Callable[..., TrainJobSpec]
PRODIGY = {"optimizer": "prodigy", "learning_rate": 1.0, "text_encoder_learning_rate": 1.0, "lr_scheduler": "constant"}


class Recorder:
    """Collects what a run reports and gives directives by step."""

    def __init__(self, directives: dict[int, Command] | None = None) -> None:
        self.steps: list[StepMetrics] = []
        self.epochs: list[EpochResult] = []
        self.phases: list[str] = []
        self._directives = directives or {}
        self._polls = 0

    def hooks(self) -> Hooks:
        return Hooks(
            on_step=self.steps.append,
            on_epoch=self.epochs.append,
            on_phase=lambda phase: self.phases.append(phase.phase),
            control=self._control,
        )

    def _control(self) -> Command:
        self._polls += 1
        return self._directives.get(self._polls, Command.CONTINUE)


def run(spec: TrainJobSpec, directives: dict[int, Command] | None = None) -> Recorder:
    recorder = Recorder(directives)
    train(spec, recorder.hooks())
    return recorder


def test_a_run_takes_exactly_the_planned_steps_and_leaves_checked_files(make_spec: MakeSpec) -> None:
    spec = make_spec()
    recorder = run(spec)
    sizes = [PictureSize(48, 48), PictureSize(96, 48), PictureSize(48, 96)]
    plan = plan_job(sizes, spec.parameters, 4)
    assert [metrics.step for metrics in recorder.steps] == list(range(1, plan.steps.total_steps + 1))
    assert {metrics.total_steps for metrics in recorder.steps} == {plan.steps.total_steps}
    # Each step tells the rate that it was made with: the cosine's first is the whole rate.
    shares = [0.5 + 0.5 * math.cos(math.pi * step / plan.steps.total_steps) for step in range(plan.steps.total_steps)]
    rates = [metrics.learning_rate for metrics in recorder.steps]
    assert rates == pytest.approx([spec.parameters.learning_rate * share for share in shares])
    assert [result.epoch for result in recorder.epochs] == [1, 2]
    last = recorder.epochs[-1]
    assert {artifact.form for artifact in last.artifacts} == {"kohya", "diffusers"}
    assert all(artifact.path.stat().st_size == artifact.size_bytes for artifact in last.artifacts)
    assert last.max_reload_difference < 1e-4
    assert all(result.train_seconds > 0 for result in recorder.epochs)
    assert [preview.path.exists() for preview in last.previews] == [True] * 3
    assert (spec.output_dir / "contact_sheet.png").exists()
    assert (spec.output_dir / "loss.png").exists()
    assert recorder.phases[0] == "loading base model"


def test_previews_follow_the_users_own_prompts_and_seeds(make_spec: MakeSpec) -> None:
    prompts = ["one", "two", "three", "four"]
    result = run(make_spec(num_epochs=1, preview_prompts=prompts, preview_seeds=[5, 7, 5])).epochs[-1]
    assert [preview.prompt for preview in result.previews] == prompts
    assert [preview.seed for preview in result.previews][:3] == [5, 7, 5]
    assert result.previews[3].seed not in (5, 7)
    assert [preview.path.name for preview in result.previews] == [f"preview-{number}.png" for number in (1, 2, 3, 4)]


def test_a_large_jpeg_is_planned_by_its_own_size_and_not_by_that_of_its_reduced_copy(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    # Halved, 824 by 601 becomes 412 by 301, whose ratio is nearer to the bucket of the other two.
    items = []
    for number, size in enumerate([(824, 601)] * 2 + [(720, 560)] * 2 + [(600, 600)]):
        path = tmp_path / f"{number}.jpg"
        Image.effect_noise(size, 40).convert("RGB").save(path)
        items.append(TrainItem(path, "a ball", name=path.name))
    changes = {"resolution": 64, "num_repeats": 1, "num_epochs": 1, "batch_size": 4, "aspect_buckets": True}
    spec = make_spec(job={"items": tuple(items)}, **changes)
    announced = plan_job([PictureSize(*size_of(item.image_path)) for item in items], spec.parameters, 4)
    assert announced.steps.total_steps == 3
    recorder = run(spec)
    assert [(metrics.step, metrics.total_steps) for metrics in recorder.steps] == [(1, 3), (2, 3), (3, 3)]


def test_training_lowers_the_loss_on_the_pictures(make_spec: MakeSpec) -> None:
    last = run(make_spec(num_epochs=1, num_repeats=24)).epochs[-1]
    assert last.evaluation.fit_loss < 0.95 * last.evaluation.base_fit_loss
    assert last.evaluation.drift > 0.0


@pytest.mark.parametrize(
    "changes",
    [
        PRODIGY,
        {"optimizer": "schedule_free", "lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 2},
        {"optimizer": "adafactor", "lr_scheduler": "polynomial", "train_text_encoder": True},
        {"optimizer": "lion", "lr_scheduler": "cosine_with_restarts", "learning_rate": 2e-3},
    ],
    ids=lambda changes: changes["optimizer"],
)
def test_every_optimizer_learns_in_a_whole_job(make_spec: MakeSpec, changes: dict[str, Any]) -> None:
    last = run(make_spec(num_epochs=1, num_repeats=48, **changes)).epochs[-1]
    assert last.evaluation.fit_loss < 0.97 * last.evaluation.base_fit_loss


def test_a_job_that_is_resumed_when_all_is_done_recommends_from_the_whole_run(make_spec: MakeSpec) -> None:
    first = Recorder()
    whole = train(make_spec("whole", num_epochs=3), first.hooks())
    assert whole.recommendation == first.epochs[-1].recommendation
    assert whole.evaluations == tuple(result.evaluation for result in first.epochs)
    moved = shutil.copytree(first.epochs[-1].checkpoint_dir, make_spec("elsewhere").output_dir)
    again = Recorder()
    resumed = train(make_spec("again", job={"resume_from": moved}, num_epochs=3), again.hooks())
    assert (resumed.status, resumed.step) == (RunStatus.COMPLETED, whole.step)
    assert resumed.recommendation == whole.recommendation
    assert resumed.evaluations == whole.evaluations
    assert again.epochs == []
    cancelled = Recorder({1: Command.CANCEL})
    longer = train(make_spec("longer", job={"resume_from": moved}, num_epochs=4), cancelled.hooks())
    assert longer.recommendation == whole.recommendation


def test_the_same_job_twice_gives_the_same_bytes(make_spec: MakeSpec) -> None:
    short = {"num_epochs": 1}
    first, second = run(make_spec("one", **short)).epochs[-1], run(make_spec("two", **short)).epochs[-1]
    assert [a.sha256 for a in first.artifacts] == [a.sha256 for a in second.artifacts]
    assert [p.path.read_bytes() for p in first.previews] == [p.path.read_bytes() for p in second.previews]
    other = run(make_spec("three", seed=7, **short)).epochs[-1]
    assert other.artifacts[0].sha256 != first.artifacts[0].sha256


@pytest.mark.parametrize(
    "changes",
    [
        {"train_text_encoder": True, "ema_decay": 0.9},
        {**PRODIGY, "shuffle_caption": True},
    ],
    ids=["text-encoder-and-average", "prodigy-and-shuffled-captions"],
)
def test_a_paused_run_goes_on_to_the_same_bytes(make_spec: MakeSpec, changes: dict[str, Any]) -> None:
    expected = run(make_spec("whole", **changes)).epochs[-1]
    moved: Path | None = None
    done = 0
    # In the middle of an epoch, at its last step, and in a later one; each part goes on from the one before.
    for pause_at in (2, 3, 5):
        spec = make_spec(f"until-{pause_at}", job={"resume_from": moved}, **changes)
        interrupted = train(spec, Recorder({pause_at - done: Command.PAUSE}).hooks())
        assert (interrupted.status, interrupted.step) == (RunStatus.PAUSED, pause_at)
        assert interrupted.checkpoint_dir is not None
        done, moved = pause_at, spec.output_dir / "elsewhere"
        shutil.copytree(interrupted.checkpoint_dir, moved)
    actual = run(make_spec("last", job={"resume_from": moved}, **changes)).epochs[-1]
    assert [a.sha256 for a in expected.artifacts] == [a.sha256 for a in actual.artifacts]
    assert expected.evaluation == actual.evaluation
    assert expected.recommendation == actual.recommendation
    assert expected.mean_loss == actual.mean_loss


def test_stop_finishes_the_epoch_and_cancel_does_not(make_spec: MakeSpec) -> None:
    stopped = Recorder({1: Command.STOP})
    result = train(make_spec("stop", learning_rate=1e-7, text_encoder_learning_rate=1e-7), stopped.hooks())
    assert result.status is RunStatus.STOPPED
    assert len(stopped.epochs) == 1
    # None follows, so what is said of it is final.
    assert result.recommendation is not None
    assert result.recommendation.reason.startswith("Nothing was learnt:")
    cancelled = Recorder({4: Command.CANCEL})
    result = train(make_spec("cancel"), cancelled.hooks())
    assert result.status is RunStatus.CANCELLED
    assert len(cancelled.epochs) == 1
    assert cancelled.epochs[0].artifacts[0].path.exists()


def test_the_time_left_counts_the_ends_of_epochs_from_the_first_step_on_and_a_stop(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By clocks that tick once a look before the first step, and then stand still: a step takes no time."""
    ticks = itertools.count()
    monkeypatch.setattr(preparation, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    monkeypatch.setattr(train_loop, "time", SimpleNamespace(monotonic=lambda: 0.0))
    going_on, told_to_stop = Recorder({4: Command.CANCEL}), Recorder({1: Command.STOP})
    for name, recorder in (("on", going_on), ("stop", told_to_stop)):
        train(make_spec(name, num_epochs=3, preview_steps=1), recorder.hooks())
    first = len(told_to_stop.steps)
    assert going_on.steps[first - 1].eta_seconds == pytest.approx(3.0, abs=0.01)
    assert told_to_stop.steps[-1].eta_seconds == pytest.approx(1.0, abs=0.01)


def test_accumulation_takes_fewer_steps_over_the_same_samples(make_spec: MakeSpec) -> None:
    recorder = run(make_spec(batch_size=1, gradient_accumulation_steps=4, num_repeats=4, num_epochs=1))
    assert len(recorder.steps) == 3
    assert recorder.epochs[0].evaluation.fit_loss < recorder.epochs[0].evaluation.base_fit_loss


def test_a_checkpoint_of_another_job_is_refused(make_spec: MakeSpec) -> None:
    paused = train(make_spec("first"), Recorder({1: Command.PAUSE}).hooks())
    other = make_spec("second", job={"resume_from": paused.checkpoint_dir}, learning_rate=1e-3)
    with pytest.raises(EngineError, match="belongs to another job") as caught:
        train(other)
    assert caught.value.reason == "CHECKPOINT_FOREIGN"
    assert paused.checkpoint_dir is not None
    (paused.checkpoint_dir / "optimizer.safetensors").write_bytes(b"short")
    with pytest.raises(EngineError) as caught:
        train(make_spec("third", job={"resume_from": paused.checkpoint_dir}))
    assert caught.value.reason == "CHECKPOINT_CORRUPT"


def test_a_loss_that_is_not_a_number_stops_the_run(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "services.trainer.engine.step.per_sample_loss", lambda answer, *_: answer.sum((1, 2, 3)) * math.nan
    )
    recorder = Recorder()
    with pytest.raises(EngineError, match="Lower the learning rate") as caught:
        train(make_spec(), recorder.hooks())
    assert caught.value.reason == "LOSS_NOT_FINITE"
    assert recorder.epochs == []


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")],
)
def test_out_of_memory_says_what_fits(error: RuntimeError) -> None:
    with pytest.raises(EngineError, match="batch_size 4") as caught, out_of_memory_named("Use batch_size 4."):
        raise error
    assert caught.value.reason == "OUT_OF_MEMORY"
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory_named("Use batch_size 4."):
        raise RuntimeError("shapes do not match")


def test_a_run_out_of_memory_is_told_which_settings_fit(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("services.trainer.engine.step.per_sample_loss", full)
    with pytest.raises(EngineError) as caught:
        train(make_spec(batch_size=4, gradient_accumulation_steps=3, resolution=32))
    assert caught.value.reason == "OUT_OF_MEMORY"
    assert caught.value.user_error
    # Its batches were computed picture by picture in the end, so smaller ones are of no use.
    assert "batch_size" not in caught.value.remedy
    for advice in (
        "mixed_precision bf16",
        "gradient_checkpointing true",
        "base_quantization nf4",
        "resolution 24",
    ):
        assert advice in caught.value.remedy
    with pytest.raises(EngineError) as caught:
        train(make_spec("least", batch_size=1, mixed_precision="bf16", gradient_checkpointing=True))
    for useless in ("batch_size", "mixed_precision", "gradient_checkpointing"):
        assert useless not in caught.value.remedy


def test_a_vanished_or_damaged_photo_has_its_own_reason(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    gone = dataclasses.replace(spec.items[0], image_path=tmp_path / "gone.png")
    with pytest.raises(EngineError, match=r"picture-0\.png is gone") as caught:
        train(dataclasses.replace(spec, items=(gone,)))
    assert caught.value.reason == "PHOTO_MISSING"
    broken = tmp_path / "broken.png"
    broken.write_bytes(spec.items[0].image_path.read_bytes()[:60])
    with pytest.raises(EngineError) as caught:
        train(dataclasses.replace(spec, items=(dataclasses.replace(gone, image_path=broken),)))
    assert caught.value.reason == "PHOTO_UNREADABLE"


def test_a_broken_base_model_has_its_own_reason(
    make_spec: MakeSpec, base_model: BaseModelFiles, tmp_path: Path
) -> None:
    def reason(change: Callable[[Path], None]) -> str:
        folder = tmp_path / change.__name__
        shutil.copytree(base_model.source, folder)
        change(folder)
        with pytest.raises(EngineError) as caught:
            train(make_spec(job={"base_model": dataclasses.replace(base_model, source=str(folder))}))
        return caught.value.reason

    def truncated(folder: Path) -> None:
        weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])

    def without_text_encoder(folder: Path) -> None:
        shutil.rmtree(folder / "text_encoder")

    def without_index(folder: Path) -> None:
        (folder / "model_index.json").unlink()

    assert reason(truncated) == "BASE_MODEL_CORRUPT"
    assert reason(without_text_encoder) == "BASE_MODEL_INCOMPLETE"
    assert reason(without_index) == "BASE_MODEL_MISSING"


def test_regularisation_without_pictures_is_refused(make_spec: MakeSpec) -> None:
    with pytest.raises(EngineError) as caught:
        train(make_spec(regularization_fraction=0.5))
    assert caught.value.reason == "REGULARIZATION_MISSING"


def test_helpers_end_when_a_run_is_dropped(make_spec: MakeSpec) -> None:
    def drop(_: StepMetrics) -> None:
        raise KeyError("dropped")

    with pytest.raises(KeyError, match="dropped"):
        train(make_spec(job={"processes": 2}, num_repeats=20), Hooks(on_step=drop))
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not any(b"engine.helper" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children)
    assert not torch.distributed.is_initialized()
