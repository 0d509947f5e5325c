"""A job that starts from an earlier LoRA: its first step has that one's effect, and its files hold the whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import ArtifactFile, Command, EpochResult, Hooks, InitialLora, TrainJobSpec
from services.trainer.engine.train_loop import train
from services.trainer.recipe.families import families
from services.trainer.recipe.lora_shape import LoraHeader, shape_of
from tests.fixtures.training_jobs import losses_of

MakeSpec = Callable[..., TrainJobSpec]
SHORT: dict[str, Any] = {"num_epochs": 1, "num_repeats": 1, "preview_steps": 1}
STILL: dict[str, Any] = {**SHORT, "learning_rate": 1e-7, "text_encoder_learning_rate": 1e-7, "weight_decay": 0.0}
"""So slow that what a job exports is what it started with."""
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"adapter": "rslora", "target_modules": "attention_ff"},
    "dora": {"adapter": "dora", "train_text_encoder": True, "ema_decay": 0.9},
    "loha": {"adapter": "loha", "target_modules": "attention"},
    "lokr": {"adapter": "lokr", "target_modules": "attention_ff"},
}


def trained(spec: TrainJobSpec, **hooks: Any) -> list[EpochResult]:
    epochs: list[EpochResult] = []
    train(replace(spec, sample_base_previews=False), Hooks(on_epoch=epochs.append, **hooks))
    return epochs


def starting(file: Path) -> dict[str, Any]:
    return {"initial_lora": InitialLora("ab" * 32, file)}


def of_form(epoch: EpochResult, form: str) -> ArtifactFile | None:
    return next((file for file in epoch.artifacts if file.form == form), None)


def largest_difference(one: Path, other: Path) -> float:
    """Of two files with the same layers, as a share of the tensors' norms."""
    ours, theirs = load_file(one), load_file(other)
    assert ours.keys() == theirs.keys()
    return max(
        float((ours[key].float() - theirs[key].float()).norm() / (1e-6 + theirs[key].float().norm())) for key in ours
    )


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_a_still_job_exports_is_what_it_started_from(make_spec: MakeSpec, name: str) -> None:
    changes = ADAPTERS[name]
    (first,) = trained(make_spec("first", **SHORT, **changes))
    for file in first.artifacts:
        (second,) = trained(make_spec(file.form, job=starting(file.path), **{**changes, **STILL}))
        for artifact in second.artifacts:
            before = of_form(first, artifact.form)
            assert before is not None
            assert largest_difference(artifact.path, before.path) < 2e-3, (file.form, artifact.form)
        assert second.evaluation.fit_loss == pytest.approx(first.evaluation.fit_loss, rel=1e-3)
        assert second.evaluation.base_fit_loss == first.evaluation.base_fit_loss
        with safe_open(file.path, "pt") as opened:
            header = LoraHeader(tuple(opened.keys()), opened.metadata())
        given = make_spec(file.form, **changes).parameters
        shape = shape_of(header, families()["stable-diffusion"], rank=given.rank, alpha=given.alpha)
        assert [getattr(given, name) for name in shape.over({})] == list(shape.over({}).values())
        with safe_open(second.artifacts[0].path, "pt") as opened:
            assert opened.metadata()["fiveshot.initial_lora_digest"] == "ab" * 32


def test_it_may_grow_in_rank_layers_and_kind_and_begins_with_the_same_effect(make_spec: MakeSpec) -> None:
    (first,) = trained(make_spec("first", **{**SHORT, "num_repeats": 4}, target_modules="attention"))
    grown: dict[str, dict[str, Any]] = {
        "same": {"target_modules": "attention"},
        "rank": {"target_modules": "attention", "rank": 5, "alpha": 1.0},
        "layers": {"target_modules": "all"},
        "dora": {"target_modules": "attention", "adapter": "dora"},
        "text": {"target_modules": "attention", "train_text_encoder": True},
    }
    begun = {
        name: losses_of(make_spec(name, job=starting(first.artifacts[0].path), **{**STILL, **changes}))[0]
        for name, changes in grown.items()
    }
    fresh = losses_of(make_spec("fresh", **{**STILL, "target_modules": "attention"}))[0]
    assert all(loss == pytest.approx(begun["same"], rel=1e-4) for loss in begun.values()), begun
    assert abs(begun["same"] - fresh) > 1e-3 * fresh


def test_a_paused_job_goes_on_bitwise_without_the_file(make_spec: MakeSpec, tmp_path: Path) -> None:
    (first,) = trained(make_spec("first", **SHORT))
    file = first.artifacts[0].path
    more = {**SHORT, "num_epochs": 2}
    whole = trained(make_spec("whole", job=starting(file), **more))
    steps = iter([Command.CONTINUE, Command.PAUSE])
    result = train(make_spec("halves", job=starting(file), **more), Hooks(control=lambda: next(steps)))
    assert result.checkpoint_dir is not None
    gone = {"initial_lora": InitialLora("ab" * 32, None), "resume_from": result.checkpoint_dir}
    again = trained(make_spec("halves", job=gone, **more))
    assert [each.artifacts[0].sha256 for each in again] == [each.artifacts[0].sha256 for each in whole]
    foreign = make_spec("foreign", job={"resume_from": result.checkpoint_dir}, **more)
    with pytest.raises(EngineError) as caught:
        train(foreign)
    assert caught.value.reason == "CHECKPOINT_FOREIGN"


def test_two_processes_start_from_it_as_one_does(make_spec: MakeSpec) -> None:
    (first,) = trained(make_spec("first", **SHORT))
    start = starting(first.artifacts[0].path)
    one = make_spec("one", job=start, num_epochs=1, num_repeats=1, batch_size=3)
    two = replace(one, processes=2, output_dir=one.output_dir.with_name("two"))
    assert losses_of(two) == pytest.approx(losses_of(one), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rank": 1}, "of the shape"),
        ({"target_modules": "attention"}, "does not train"),
        ({"adapter": "loha", "target_modules": "attention"}, "does not fit"),
    ],
)
def test_what_would_be_lost_is_refused(make_spec: MakeSpec, changes: dict[str, Any], words: str) -> None:
    (first,) = trained(make_spec("first", **SHORT))
    with pytest.raises(EngineError, match=words) as caught:
        train(make_spec("second", job=starting(first.artifacts[0].path), num_epochs=1, **changes))
    assert caught.value.reason == "INITIAL_LORA_UNFIT"
    assert caught.value.user_error


def test_a_scale_that_is_no_number_is_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    (first,) = trained(make_spec("first", **SHORT))
    for form, artifact in enumerate(first.artifacts):
        tensors = load_file(artifact.path)
        with safe_open(artifact.path, "pt") as opened:
            metadata = opened.metadata()
        tensors = {name: torch.ones(2) if name.endswith(".alpha") else tensor for name, tensor in tensors.items()}
        settings = json.loads(metadata.get(LORA_ADAPTER_METADATA_KEY, "{}"))
        settings = {key: 10**400 if key.endswith("lora_alpha") else value for key, value in settings.items()}
        file = tmp_path / f"{form}.safetensors"
        save_file(tensors, file, {**metadata, LORA_ADAPTER_METADATA_KEY: json.dumps(settings)})
        with pytest.raises(EngineError, match="is no number") as caught:
            train(make_spec(f"second-{form}", job=starting(file), num_epochs=1))
        assert caught.value.reason == "INITIAL_LORA_UNFIT"


def test_a_file_that_is_none_is_refused_without_telling_where_it_lies(make_spec: MakeSpec, tmp_path: Path) -> None:
    file = tmp_path / "none.safetensors"
    file.write_bytes(b"no header")
    with pytest.raises(EngineError, match="cannot be read") as caught:
        train(make_spec("one", job=starting(file), num_epochs=1))
    assert str(tmp_path) not in caught.value.message
    save_file({"unet.lora_A.weight": torch.full((2, 2), torch.nan)}, file)
    with pytest.raises(EngineError, match="no number"):
        train(make_spec("two", job=starting(file), num_epochs=1))
