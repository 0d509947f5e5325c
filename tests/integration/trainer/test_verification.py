"""Every file that does not hold what was trained is refused, at any size of LoRA, whatever the adapter."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from services.trainer.engine.errors import EngineError
from services.trainer.engine.export import row_norms, write_artifacts
from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family
from services.trainer.engine.fused_lora import fuse_lora
from services.trainer.engine.job import ArtifactFile, BaseModelFiles
from services.trainer.engine.lora import add_adapters, trained_weights
from services.trainer.engine.precision import DTYPES, autocast
from services.trainer.engine.verification import Probe, adapted_layers, verify_artifacts
from services.trainer.recipe.parameters import TrainingParameters

ADAPTERS = ("lora", "rslora", "dora", "loha", "lokr")
ONE_STEP = 1e-6
"""What one step at that rate changes a weight by (Adam's first step is the rate itself)."""
Tensors = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model with an adapter, and its files."""

    family: Family
    carriers: dict[str, nn.Module]
    parameters: TrainingParameters
    artifacts: tuple[ArtifactFile, ...]

    def check(self, *artifacts: ArtifactFile) -> float:
        """What the engine does with the files before it reports the epoch."""
        torch.manual_seed(5)
        noisy, timesteps = torch.randn(1, 4, 8, 8), torch.tensor([500])
        precision = self.parameters.mixed_precision
        with autocast(torch.device("cpu"), precision) if precision != "no" else nullcontext():
            chosen = artifacts or self.artifacts
            return verify_artifacts(chosen, self.family, self.carriers, precision, Probe(noisy, timesteps, ("zwx",)))


Train = Callable[..., Trained]


@pytest.fixture(scope="module")
def models(base_model: BaseModelFiles) -> dict[str, Family]:
    return {name: load_family(base_model, torch.device("cpu"), dtype) for name, dtype in DTYPES.items()}


@pytest.fixture
def train(models: dict[str, Family], parameters: Callable[..., TrainingParameters], tmp_path: Path) -> Train:
    """Weights moved by so much from where they start, as an optimizer does it, and exported."""

    def build(size: float, fused: bool = False, **changes: Any) -> Trained:
        changes.setdefault("train_text_encoder", changes.get("adapter", "lora") in ("lora", "rslora", "dora"))
        chosen = parameters(**changes)
        family = copy.deepcopy(models[chosen.mixed_precision])
        carriers = add_adapters(family, chosen)
        if fused:
            assert sum(map(fuse_lora, carriers.values()))
        torch.manual_seed(3)
        for weight in trained_weights(carriers).values():
            weight.data += size * torch.sign(torch.randn_like(weight)) * (0.5 + torch.rand_like(weight))
        files = write_artifacts(tmp_path, "x", family, carriers, chosen, {"ss_epoch": "1"})
        return Trained(family, carriers, chosen, files)

    return build


def second(tensors: Tensors) -> list[str]:
    """Names of the matrix that starts at zero, without which a LoRA does nothing."""
    endings = (".lora_up.weight", ".lora_B.weight", ".hada_w2_b", ".lokr_w1", ".lokr_w1_a")
    return [key for key in tensors if key.endswith(endings)]


def zeroed(tensors: Tensors) -> Tensors:
    return {**tensors, **{key: torch.zeros_like(tensors[key]) for key in second(tensors)}}


def one_zeroed(tensors: Tensors) -> Tensors:
    key = second(tensors)[-1]
    return {**tensors, key: torch.zeros_like(tensors[key])}


def flipped(tensors: Tensors) -> Tensors:
    return {**tensors, **{key: -tensors[key] for key in second(tensors)}}


def swapped(tensors: Tensors) -> Tensors:
    """The first two layers of one shape change places, with all of their matrices."""
    first, other = next(
        (one, two) for one in second(tensors) for two in second(tensors)
        if one < two and tensors[one].shape == tensors[two].shape and not torch.equal(tensors[one], tensors[two])
    )  # fmt: skip
    layers = [key.removesuffix("." + key.split(".", 1)[1]) for key in (first, other)]
    if "lora_A" in "".join(tensors):
        layers = [key.partition(".lora_")[0] for key in (first, other)]
    to = dict(zip(layers, reversed(layers), strict=True))
    return {
        next((to[name] + key.removeprefix(name) for name in layers if key.startswith(name + ".")), key): tensor
        for key, tensor in tensors.items()
    }


def halved(tensors: Tensors) -> Tensors:
    return dict(list(tensors.items())[::2])


def without_alpha(tensors: Tensors) -> Tensors:
    return {key: tensor for key, tensor in tensors.items() if not key.endswith(".alpha")}


def other_alpha(tensors: Tensors) -> Tensors:
    """A scale twice too strong, wherever the form keeps it."""
    endings = (".lora_B.weight", ".lokr_w1", ".lokr_w1_a") if not any(".lora_up" in key for key in tensors) else ()
    scaled = [key for key in tensors if key.endswith((".alpha", *endings))]
    return {**tensors, **{key: 2 * tensors[key] for key in scaled}}


def with_nan(tensors: Tensors) -> Tensors:
    key = second(tensors)[0]
    return {**tensors, key: torch.full_like(tensors[key], float("nan"))}


def with_infinity(tensors: Tensors) -> Tensors:
    key = second(tensors)[0]
    return {**tensors, key: torch.full_like(tensors[key], float("inf"))}


def in_another_format(tensors: Tensors) -> Tensors:
    """The bytes of one number format declared to be another's."""
    key = second(tensors)[0]
    whole = tensors[key].to(torch.float16)
    return {**tensors, key: whole.view(torch.bfloat16).to(torch.float32)}


def with_a_stranger(tensors: Tensors) -> Tensors:
    return {**tensors, "lora_unet_nowhere.lora_up.weight": torch.ones(2, 2)}


def transposed(tensors: Tensors) -> Tensors:
    key = next(key for key in second(tensors) if not torch.equal(tensors[key], tensors[key].transpose(0, 1)))
    return {**tensors, key: tensors[key].transpose(0, 1).contiguous()}


WRONG = (
    zeroed, one_zeroed, flipped, swapped, halved, without_alpha, other_alpha, with_nan, with_infinity,
    in_another_format, with_a_stranger, transposed,
)  # fmt: skip


def rewritten(artifact: ArtifactFile, change: Callable[[Tensors], Tensors], path: Path) -> ArtifactFile | None:
    """A copy of a file with a change; None where the change leaves it as it is."""
    tensors = load_file(artifact.path)
    changed = change(tensors)
    if changed.keys() == tensors.keys() and all(torch.equal(changed[key], tensors[key]) for key in tensors):
        return None
    with safe_open(artifact.path, "pt") as opened:
        metadata = opened.metadata()
    save_file({key: tensor.contiguous() for key, tensor in changed.items()}, path, metadata)
    return dataclasses.replace(artifact, path=path)


def wrong_files(trained: Trained, folder: Path) -> Iterator[tuple[str, ArtifactFile]]:
    for artifact in trained.artifacts:
        for change in WRONG:
            wrong = rewritten(artifact, change, folder / f"{change.__name__}-{artifact.form}.safetensors")
            if wrong is not None:
                yield f"{change.__name__} in {artifact.form}", wrong


@pytest.mark.parametrize(
    ("adapter", "precision", "size"),
    [
        *((adapter, "no", 0.05) for adapter in ADAPTERS),
        *((adapter, "bf16", ONE_STEP) for adapter in ADAPTERS),
        # What differs by number format is the reading of tensors, which all adapters share.
        ("lora", "no", ONE_STEP),
        ("dora", "fp16", 0.05),
    ],
)
def test_what_was_trained_is_accepted_and_every_wrong_file_refused(
    train: Train, adapter: str, precision: str, size: float, tmp_path: Path
) -> None:
    targets = "all" if (precision, size) == ("no", 0.05) else "attention"
    trained = train(size, adapter=adapter, target_modules=targets, mixed_precision=precision)
    both = ["kohya", "diffusers"]
    assert [each.form for each in trained.artifacts] == (both[:1] if adapter in ("loha", "lokr") else both)
    before = {name: weight.clone() for name, weight in trained_weights(trained.carriers).items()}
    difference = trained.check()
    if (precision, size) == ("no", 0.05):
        assert difference < 1e-4
    after = trained_weights(trained.carriers)
    assert all(torch.equal(before[name], weight) and weight.requires_grad for name, weight in after.items())
    wrong = dict(wrong_files(trained, tmp_path))
    assert len(wrong) >= len(WRONG) * len(trained.artifacts) - 1
    assert refused(trained, wrong) == list(wrong)


def refused(trained: Trained, files: dict[str, ArtifactFile]) -> list[str]:
    """Names of those that the check does not let through."""

    def accepted(file: ArtifactFile) -> bool:
        try:
            trained.check(file)
        except EngineError as error:
            return error.reason != "EXPORT_MISMATCH" or file.form not in error.message
        return True

    return [name for name, file in files.items() if not accepted(file)]


@pytest.mark.parametrize("adapter", ["dora", "lokr"])
def test_a_layers_change_has_all_its_bits_where_predictions_have_fewer(train: Train, adapter: str) -> None:
    """A DoRA's norms in fewer bits would be those of another LoRA, and the file of this one refused."""
    trained = train(0.2, adapter=adapter, mixed_precision="bf16")
    layers = [adapted.layer for adapted in adapted_layers(trained.carriers)]
    whole = [row_norms(layer) for layer in layers]
    with autocast(trained.family.device, "bf16"):
        for layer, norms in zip(layers, whole, strict=True):
            assert all(torch.equal(one, other) for one, other in zip(row_norms(layer), norms, strict=True))
    trained.check()


def test_a_dora_file_whose_scales_are_divided_by_another_norm_is_refused(train: Train, tmp_path: Path) -> None:
    trained = train(0.05, adapter="dora")
    layers = {
        trained.family.kohya_name(layer.component, layer.path): layer for layer in adapted_layers(trained.carriers)
    }

    def as_trained(tensors: Tensors) -> Tensors:
        found = {}
        for name, layer in layers.items():
            scale = next(value for ending, value in layer.matrices.items() if ending.startswith("lora_magnitude"))
            found[f"{name}.dora_scale"] = scale.reshape(tensors[f"{name}.dora_scale"].shape).clone()
        return {**tensors, **found}

    wrong = rewritten(trained.artifacts[0], as_trained, tmp_path / "wrong.safetensors")
    assert wrong is not None
    with pytest.raises(EngineError, match="another lora_magnitude_vector"):
        trained.check(wrong)


def test_a_diffusers_file_without_its_configuration_is_refused(train: Train, tmp_path: Path) -> None:
    trained = train(0.05)
    path = tmp_path / "bare.safetensors"
    save_file(load_file(trained.artifacts[1].path), path)
    with pytest.raises(EngineError, match="no configuration of unet"):
        trained.check(dataclasses.replace(trained.artifacts[1], path=path))


@pytest.mark.parametrize("content", [b"", b"not a file of tensors at all"])
def test_a_damaged_file_is_refused(train: Train, content: bytes) -> None:
    trained = train(0.05)
    trained.artifacts[0].path.write_bytes(content)
    with pytest.raises(EngineError, match="cannot be read back"):
        trained.check()


def test_a_live_layer_that_computes_something_else_is_found(train: Train) -> None:
    assert train(0.05, fused=True).check() < 1e-4
    trained = train(0.05)
    for adapted in adapted_layers(trained.carriers):
        adapted.layer.lora_B["default"].register_forward_hook(lambda *call: 1.5 * call[-1])
    with pytest.raises(EngineError, match="its prediction differs"):
        trained.check()
