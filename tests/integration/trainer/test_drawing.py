"""Pictures on request: what they show, and that neither the base model nor a run's steps notice them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from services.trainer.engine.drawing import draw
from services.trainer.engine.errors import EngineError
from services.trainer.engine.families import load_family
from services.trainer.engine.job import BaseModelFiles, Command, EpochResult, Hooks, TrainJobSpec
from services.trainer.engine.train_loop import train
from services.trainer.engine.try_out import DrawnPicture, NotWanted, TryOut, TryOutSpec
from services.trainer.engine.warm import Warm
from services.trainer.recipe.preview_cells import cells_of

MakeSpec = Callable[..., TrainJobSpec]
SIDE = 16


@pytest.fixture
def warm() -> Iterator[Warm]:
    with closing(Warm()) as made:
        yield made


def try_out(
    folder: Path, drawn: list[DrawnPicture], *, sources: Sequence[str] = ("a",), strengths: Sequence[float] = (1.0,),
    wanted: Callable[[], bool] = lambda: True, prompts: Sequence[str] = ("a photo of sks dog", "a cat"), **more: Any,
) -> TryOut:  # fmt: skip
    return TryOut(
        cells_of(sources, strengths, prompts, (3, 4)), "", SIDE, SIDE, 2, 5.0, folder, drawn.extend, wanted, **more
    )


def trained(spec: TrainJobSpec, warm: Warm | None = None, **hooks: Any) -> list[EpochResult]:
    epochs: list[EpochResult] = []
    train(spec, Hooks(on_epoch=epochs.append, **hooks), warm)
    return epochs


def file_of(epoch: EpochResult, form: str = "diffusers") -> Path:
    return next(artifact.path for artifact in epoch.artifacts if artifact.form == form)


def pixels(picture: DrawnPicture) -> numpy.ndarray[Any, Any]:
    return numpy.asarray(Image.open(picture.path)).astype(int)


def content(epochs: list[EpochResult]) -> list[bytes]:
    files = [artifact.path for epoch in epochs for artifact in epoch.artifacts]
    return [path.read_bytes() for path in [*files, *(each.path for epoch in epochs for each in epoch.previews)]]


def spec_of(base_model: BaseModelFiles, wanted: TryOut, **weights: Path) -> TryOutSpec:
    return TryOutSpec(wanted, base_model, weights, "no", "none", "cpu")


def test_a_file_draws_what_its_epoch_drew_and_strength_0_is_the_base_model(
    make_spec: MakeSpec, base_model: BaseModelFiles, warm: Warm, tmp_path: Path
) -> None:
    prompts = ("a photo of sks dog", "a cat", "a tree")
    changes = {"preview_prompts": prompts, "preview_seeds": (3, 3, 3), "preview_steps": 2, "preview_guidance": 5.0}
    spec = make_spec("job", num_epochs=2, train_text_encoder=True, **changes)
    base: list[Any] = []
    first, last = trained(spec, warm, on_base_previews=base.extend)
    drawn: list[DrawnPicture] = []
    asked = try_out(tmp_path / "drawn", drawn, sources=("first", "last"), strengths=(0.0, 1.0, 2.0), prompts=prompts)
    asked = replace(asked, width=spec.parameters.resolution, height=spec.parameters.resolution)
    draw(spec_of(base_model, asked, first=file_of(first), last=file_of(last)), warm)

    assert [picture.cell for picture in drawn] == list(asked.cells)
    for epoch, name in ((first, "first"), (last, "last")):
        for number, prompt in enumerate(prompts):
            found = {
                picture.cell.strength: pixels(picture)
                for picture in drawn
                if (picture.cell.source, picture.cell.prompt, picture.cell.seed) == (name, prompt, 3)
            }
            # The file holds half precision, which a pixel may feel.
            own = numpy.asarray(Image.open(epoch.previews[number].path)).astype(int)
            assert abs(found[1.0] - own).max() <= 3
            assert abs(found[0.0] - numpy.asarray(Image.open(base[number].path)).astype(int)).max() <= 1
            assert (found[1.0] != found[0.0]).any()
            assert (found[2.0] != found[1.0]).any()


def test_the_base_model_is_bitwise_clean_after_a_try_out_also_after_one_that_ended_early(
    make_spec: MakeSpec, base_model: BaseModelFiles, warm: Warm, tmp_path: Path
) -> None:
    (epoch,) = trained(make_spec("job", num_epochs=1, train_text_encoder=True))
    cold = content(trained(make_spec("cold", num_epochs=1)))
    drawn: list[DrawnPicture] = []
    draw(spec_of(base_model, try_out(tmp_path / "drawn", drawn), a=file_of(epoch)), warm)
    assert content(trained(make_spec("hot", num_epochs=1), warm)) == cold
    unwanted = try_out(tmp_path / "unwanted", drawn, wanted=lambda: False)
    with pytest.raises(NotWanted):
        draw(spec_of(base_model, unwanted, a=file_of(epoch)), warm)
    fresh = load_family(base_model, torch.device("cpu"), torch.float32)
    held = warm.take(base_model, torch.device("cpu"), torch.float32, "none")
    for ours, theirs in zip(held.modules, fresh.modules, strict=True):
        assert [(name, type(each)) for name, each in ours.named_modules()] == [
            (name, type(each)) for name, each in theirs.named_modules()
        ]
        assert not any(each.training for each in ours.modules())
        assert not any(weight.requires_grad for weight in ours.parameters())
        state = theirs.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())


def test_a_file_of_another_model_is_refused_in_words(base_model: BaseModelFiles, warm: Warm, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    save_file({"unet.none.lora_A.weight": torch.zeros(2, 4), "unet.none.lora_B.weight": torch.zeros(4, 2)}, wrong)
    with pytest.raises(EngineError) as caught:
        draw(spec_of(base_model, try_out(tmp_path / "drawn", []), a=wrong), warm)
    assert caught.value.reason == "LORA_UNREADABLE"
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": "lokr", "optimizer": "schedule_free", "learning_rate": 1e-2},
        {"adapter": "dora", "train_text_encoder": True, "ema_decay": 0.9},
    ],
    ids=["schedule-free", "dora-with-average"],
)
def test_the_steps_of_a_run_are_bitwise_the_same_with_pictures_drawn_between_them(
    make_spec: MakeSpec, tmp_path: Path, changes: dict[str, Any]
) -> None:
    changes = {"num_epochs": 2, **changes}
    losses: dict[str, list[float]] = {"plain": [], "drawn": []}
    plain = trained(make_spec("plain", **changes), on_step=lambda step: losses["plain"].append(step.loss))
    drawn: list[DrawnPicture] = []
    ends: list[Exception | None] = []
    steps = 0

    def control() -> Command:
        nonlocal steps
        steps += 1
        return Command.DRAW if steps % 3 == 1 else Command.CONTINUE

    def asked() -> TryOut:
        # Every second one is told to end at its first solver step.
        answer = len(ends) % 2 == 0
        return try_out(tmp_path / f"asked-{steps}", drawn, strengths=(1.5,), wanted=lambda: answer, on_end=ends.append)

    with_pictures = trained(
        make_spec("drawn", **changes), control=control, try_out=asked,
        on_step=lambda step: losses["drawn"].append(step.loss),
    )  # fmt: skip
    assert content(with_pictures) == content(plain)
    assert losses["drawn"] == losses["plain"]
    assert ends[0] is None
    assert isinstance(ends[1], NotWanted)
    assert {picture.step for picture in drawn} == {1}


def test_a_helper_process_waits_while_the_main_one_draws(make_spec: MakeSpec, warm: Warm, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"num_epochs": 1, "batch_size": 3, "num_repeats": 4, "job": {"processes": 2}}
    # The second job takes the helper of the first over, as a worker's does.
    plain = trained(make_spec("plain", **changes), warm)
    drawn: list[DrawnPicture] = []
    commands = iter([Command.CONTINUE, Command.DRAW])
    with_picture = trained(
        make_spec("drawn", **changes),
        warm,
        control=lambda: next(commands, Command.CONTINUE),
        try_out=lambda: try_out(tmp_path / "asked", drawn),
    )
    assert content(with_picture) == content(plain)
    assert len(drawn) == 4
