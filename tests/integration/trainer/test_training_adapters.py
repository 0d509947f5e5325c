"""A distilled model is trained with an adapter beside it that no file and no picture has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.job import BaseModelFiles, EpochResult, Hooks, TrainJobSpec
from services.trainer.engine.train_loop import train
from tests.fixtures.miniatures import write_z_image

CPU = torch.device("cpu")
LAYERS = ("layers.0.attention.to_k", "layers.1.feed_forward.w2")
DRAWN = SamplingRequest(("a dog",), (3,), "", 16, 16, 2, 1.0)


def written(path: Path, family: Family, alpha: float | None, prefix: str = "diffusion_model.") -> dict[str, Tensor]:
    """An adapter's file in the form of ai-toolkit or kohya's endings, and what it adds to each weight."""
    generator = torch.Generator().manual_seed(9)
    tensors: dict[str, Tensor] = {}
    changes: dict[str, Tensor] = {}
    for name in LAYERS:
        weight = family.denoiser.get_submodule(name).weight
        down, up = (torch.randn(size, generator=generator) for size in ((3, weight.shape[1]), (weight.shape[0], 3)))
        endings = ("lora_A.weight", "lora_B.weight") if alpha is None else ("lora_down.weight", "lora_up.weight")
        tensors |= {f"{prefix}{name}.{endings[0]}": down, f"{prefix}{name}.{endings[1]}": up}
        if alpha is not None:
            tensors[f"{prefix}{name}.alpha"] = torch.tensor(alpha)
        changes[name] = up @ down * (1.0 if alpha is None else alpha / 3)
    save_file(tensors, path)
    return changes


def answer(family: Family) -> Tensor:
    noisy = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return family.predict(noisy, torch.tensor([0.6]), family.encode_text(["a dog"]))


@pytest.mark.parametrize("alpha", [None, 1.5])
def test_it_counts_in_training_and_not_in_pictures(tmp_path: Path, alpha: float | None) -> None:
    files = write_z_image(tmp_path / "model")
    plain, changed = (load_family(files, CPU, torch.float32) for _ in range(2))
    for name, change in written(tmp_path / "adapter.safetensors", plain, alpha).items():
        changed.denoiser.get_submodule(name).weight.data += change
    trained = load_family(
        dataclasses.replace(files, training_adapter=str(tmp_path / "adapter.safetensors")), CPU, torch.float32
    )
    torch.testing.assert_close(answer(trained), answer(changed), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(answer(plain), answer(changed), atol=1e-2)
    drawn = [family.sample(family.pipeline(), DRAWN, lambda _: None) for family in (plain, trained)]
    assert torch.equal(*drawn)


def test_a_job_exports_without_it_and_a_checkpoint_knows_it(
    make_spec: Callable[..., TrainJobSpec], tmp_path: Path
) -> None:
    files = write_z_image(tmp_path / "model")
    written(tmp_path / "adapter.safetensors", load_family(files, CPU, torch.float32), None)
    distilled = dataclasses.replace(files, training_adapter=str(tmp_path / "adapter.safetensors"))
    epochs: list[EpochResult] = []
    short = {"num_epochs": 1, "num_repeats": 1, "preview_steps": 1}
    train(make_spec("with", job={"base_model": distilled}, **short), Hooks(on_epoch=epochs.append))
    train(make_spec("without", job={"base_model": files}, **short), Hooks(on_epoch=epochs.append))
    one, other = (epoch.artifacts[0] for epoch in epochs)
    assert one.size_bytes == other.size_bytes
    assert one.sha256 != other.sha256
    assert epochs[0].max_reload_difference < 1e-4
    first = tmp_path / "with" / "epochs" / "base" / "preview-1.png"
    second = tmp_path / "without" / "epochs" / "base" / "preview-1.png"
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(EngineError) as caught:
        train(make_spec("again", job={"base_model": files, "resume_from": epochs[0].checkpoint_dir}, **short))
    assert caught.value.reason == "CHECKPOINT_FOREIGN"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "holds no layer"),
        ({"transformer.layers.7.attention.to_k.lora_A.weight": torch.zeros(3, 32)}, "which the model has not"),
        (
            {
                "transformer.layers.0.attention.to_k.lora_A.weight": torch.zeros(3, 16),
                "transformer.layers.0.attention.to_k.lora_B.weight": torch.zeros(16, 3),
            },
            "another size",
        ),
        (None, "cannot be read"),
    ],
)
def test_one_of_another_model_is_refused(tmp_path: Path, tensors: dict[str, Tensor] | None, words: str) -> None:
    files: BaseModelFiles = write_z_image(tmp_path / "model")
    path = tmp_path / "adapter.safetensors"
    if tensors is None:
        path.write_bytes(b"no header")
    else:
        save_file(tensors, path)
    with pytest.raises(EngineError, match=words) as caught:
        load_family(dataclasses.replace(files, training_adapter=str(path)), CPU, torch.float32)
    assert caught.value.reason == "TRAINING_ADAPTER_UNFIT"
    assert str(tmp_path) not in caught.value.message
