"""The engine that trains nothing: the steps of the real plan, files that open, a checkpoint that it goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors import safe_open

from services.trainer.engine.job import (
    Command,
    EpochResult,
    Hooks,
    PhaseProgress,
    PreviewImage,
    RunStatus,
    StepMetrics,
    TrainItem,
    TrainJobSpec,
)
from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, load_catalogue
from services.trainer.recipe.parameters import resolve
from services.trainer.recipe.plan import PictureSize, plan_job
from services.trainer.worker.files import files_of
from services.trainer.worker.measuring import RunClock
from services.trainer.worker.pictures import decode_original
from services.trainer.worker.pretending import PretendedEngine
from tests.fakes import pictures

CATALOGUE = load_catalogue(DEFAULT_CATALOGUE)
MODEL = CATALOGUE["fiveshot-tiny"]
ENGINE = PretendedEngine(CATALOGUE, 0.0)


class _Heard:
    """What a run says. commands: answers to each step in turn; none left means go on."""

    def __init__(self, *commands: Command) -> None:
        self.commands = list(commands)
        self.phases: list[PhaseProgress] = []
        self.steps: list[StepMetrics] = []
        self.base: list[PreviewImage] = []
        self.epochs: list[EpochResult] = []

    def hooks(self) -> Hooks:
        return Hooks(
            on_phase=self.phases.append,
            on_step=self.steps.append,
            on_base_previews=self.base.extend,
            on_epoch=self.epochs.append,
            control=lambda: self.commands.pop(0) if self.commands else Command.CONTINUE,
        )


def _spec(folder: Path, **given: Any) -> TrainJobSpec:
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(3):
        path = folder / f"{number}.png"
        path.write_bytes(pictures.png(80, 64 + 8 * number, seed=number))
        items.append(TrainItem(path, f"sks, a cat, number {number}", name=path.name))
    parameters = resolve(MODEL.specs, {"num_epochs": 3, "num_repeats": 2, "trigger_word": "sks"})
    return TrainJobSpec(
        base_model=files_of(MODEL), parameters=parameters, items=tuple(items), output_dir=folder / "output",
        decode=decode_original, title="cat", **given,
    )  # fmt: skip


def test_a_run_takes_the_steps_of_the_plan_and_its_files_open_and_say_what_they_are(tmp_path: Path) -> None:
    spec, heard = _spec(tmp_path), _Heard()
    result = ENGINE.train(spec, heard.hooks())
    sizes = [PictureSize(80, 64 + 8 * number) for number in range(3)]
    plan = plan_job(sizes, spec.parameters, MODEL.pixel_multiple).steps
    assert (result.status, result.step) == (RunStatus.COMPLETED, plan.total_steps)
    assert [each.step for each in heard.steps] == list(range(1, plan.total_steps + 1))
    assert [each.epoch for each in heard.epochs] == [1, 2, 3]
    assert len(heard.base) == len(heard.epochs[0].previews) >= 3
    last = heard.epochs[-1]
    assert last.recommendation.reason.startswith("Pretended")
    assert [each.form for each in last.artifacts] == ["kohya", "diffusers"]
    assert len({each.sha256 for done in heard.epochs for each in done.artifacts}) == 6
    for artifact in last.artifacts:
        assert "pretended" in artifact.path.name
        with safe_open(artifact.path, "np") as file:
            assert file.metadata()["fiveshot.pretended"] == "true"
    with Image.open(last.previews[0].path) as picture:
        assert picture.info["Software"] == "Fiveshot, pretended"
    with Image.open(last.contact_sheet) as sheet:
        assert sheet.height > sheet.width / 2


def test_a_second_run_goes_on_from_the_checkpoint_of_the_first(tmp_path: Path) -> None:
    first = _Heard()
    ENGINE.train(_spec(tmp_path / "first"), first.hooks())
    second = _Heard()
    spec = _spec(tmp_path / "second", resume_from=first.epochs[0].checkpoint_dir, sample_base_previews=False)
    result = ENGINE.train(spec, second.hooks())
    assert [each.epoch for each in second.epochs] == [2, 3]
    assert second.steps == first.steps[len(first.steps) - len(second.steps) :]
    assert second.base == []
    assert len(result.evaluations) == 3


@pytest.mark.parametrize(
    ("command", "status", "epochs"), [(Command.CANCEL, RunStatus.CANCELLED, 0), (Command.STOP, RunStatus.STOPPED, 1)]
)
def test_it_obeys_at_the_next_step(tmp_path: Path, command: Command, status: RunStatus, epochs: int) -> None:
    heard = _Heard(command)
    result = ENGINE.train(_spec(tmp_path), heard.hooks())
    assert (result.status, len(heard.epochs)) == (status, epochs)


def test_it_says_nothing_of_real_times_and_sizes(tmp_path: Path) -> None:
    assert ENGINE.meter()(_spec(tmp_path), MODEL, RunClock()) is None
    assert ENGINE.device_memory_bytes == 0
    assert all(ENGINE.loads(model) for model in CATALOGUE.values())
