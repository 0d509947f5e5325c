"""A LoRA rewritten from each form into each other changes the same weights as much, by each tool's rules."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.chassis.errors import FailedPrecondition
from services.registry.models.names import DIFFUSERS, KOHYA, PEFT
from services.registry.use_cases.forms import adapter_config, reading, tensors, writing
from services.registry.use_cases.forms.adapter_config import AdapterConfig
from services.trainer.engine.export import write_artifacts
from services.trainer.recipe.parameters import DEFAULT_SPECS, TrainingParameters, resolve
from tests.fixtures.adapted_models import MODELS, TOLERANCE, AdaptedModel, difference, load, trained_changes
from tests.fixtures.training_jobs import QUICK
from tests.readers import comfyui
from tests.readers.diffusers_files import applied, merged_changes
from tests.readers.original import Place, flux2_places, flux_places


def parameters(**changes: Any) -> TrainingParameters:
    return resolve(DEFAULT_SPECS, {**QUICK, **changes})


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AdaptedModel:
    return load(MODELS[request.param], tmp_path_factory.mktemp("forms") / request.param)


def rewritten(source: Path, form: str, to: str, target: Path, config: AdapterConfig | None = None) -> Path:
    """The file at `target`; for PEFT a folder for each network there."""
    with source.open("rb") as stored:
        found, metadata = tensors.opened(stored)
        layers = reading.read(form, found, metadata, config or AdapterConfig())
        files = writing.for_peft(layers, {}) if to == PEFT else {"": writing.rewritten(layers, to, metadata, {})}
        for network, file in files.items():
            if network:
                (target / network).mkdir(parents=True)
                (target / network / "adapter_config.json").write_text(file.settings)
            with (target / network / "adapter_model.safetensors" if network else target).open("wb") as made:
                tensors.write(made, file.tensors, file.metadata)
    return target


def exported(
    model: AdaptedModel, parameters: TrainingParameters, folder: Path
) -> tuple[dict[str, Path], dict[str, Tensor]]:
    """The engine's own files by form, and what they change."""
    family, carriers = model.adapted(parameters)
    metadata = {"modelspec.architecture": f"{model.architecture}/lora"}
    files = write_artifacts(folder, "x", family, carriers, parameters, metadata)
    return {file.form: file.path for file in files}, trained_changes(carriers)


@pytest.mark.parametrize("adapter", ["lora", "rslora"])
def test_kohya_and_diffusers_forms_are_made_of_each_other(model: AdaptedModel, tmp_path: Path, adapter: str) -> None:
    chosen = parameters(adapter=adapter, target_modules="all", train_text_encoder=True, rank=3, alpha=5.0)
    files, trained = exported(model, chosen, tmp_path)
    made = rewritten(files[KOHYA], KOHYA, DIFFUSERS, tmp_path / "made-diffusers.safetensors")
    changes, left_over = applied(copy.deepcopy(model.family).pipeline(), made)
    assert left_over == 0
    assert difference(changes, trained) <= TOLERANCE
    assert set(load_file(made)) == set(load_file(files[DIFFUSERS]))

    back = rewritten(files[DIFFUSERS], DIFFUSERS, KOHYA, tmp_path / "made-kohya.safetensors")
    read = comfyui.read(load_file(back), model.base)
    assert not read.left_over
    assert difference(read.changes, trained) <= TOLERANCE
    assert set(load_file(back)) == set(load_file(files[KOHYA]))


@pytest.mark.parametrize("form", [KOHYA, DIFFUSERS])
def test_peft_loads_what_is_made_for_it_and_its_own_file_comes_back(
    model: AdaptedModel, tmp_path: Path, form: str
) -> None:
    chosen = parameters(adapter="lora", target_modules="all", train_text_encoder=True, rank=3, alpha=5.0)
    files, trained = exported(model, chosen, tmp_path)
    made = rewritten(files[form], form, PEFT, tmp_path / "peft")
    changes: dict[str, Tensor] = {}
    for network in sorted(folder.name for folder in made.iterdir()):
        plain: Any = copy.deepcopy(model.family.components[network])
        loaded = PeftModel.from_pretrained(plain, made, subfolder=network)
        found = merged_changes(loaded.get_base_model())
        changes |= {f"{network}.{name}": change for name, (change, _) in found.items()}
    assert difference(changes, trained) <= TOLERANCE

    component = model.family.facts.denoiser.component
    config = adapter_config.read((made / component / "adapter_config.json").read_text())
    back = rewritten(made / component / "adapter_model.safetensors", PEFT, KOHYA, tmp_path / "back.safetensors", config)
    read = comfyui.read(load_file(back), model.base)
    assert not read.left_over
    own = {name: change for name, change in trained.items() if name.startswith(f"{component}.")}
    assert difference(read.changes, own) <= TOLERANCE


def test_ranks_and_alphas_of_single_layers_survive_in_settings_that_peft_wrote(
    tmp_path: Path,
) -> None:
    model = load(MODELS["stable-diffusion-1"], tmp_path / "model")
    settings = LoraConfig(
        r=4, lora_alpha=6, target_modules=["to_q", "to_k", "conv1"], rank_pattern={"attn2.to_k": 2},
        alpha_pattern={"attn2.to_k": 3}, use_rslora=True,
    )  # fmt: skip
    plain: Any = copy.deepcopy(model.family.components["unet"])
    network: Any = get_peft_model(copy.deepcopy(plain), settings)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    trained = {f"unet.{name}": one for name, (one, _) in merged_changes(network.get_base_model()).items()}
    network.save_pretrained(str(tmp_path / "peft"))
    config = adapter_config.read((tmp_path / "peft" / "adapter_config.json").read_text())
    source = tmp_path / "peft" / "adapter_model.safetensors"
    kohya = rewritten(source, PEFT, KOHYA, tmp_path / "kohya.safetensors", config)
    assert difference(comfyui.read(load_file(kohya), model.base).changes, trained) <= TOLERANCE
    diffusers = rewritten(source, PEFT, DIFFUSERS, tmp_path / "diffusers.safetensors", config)
    assert difference(applied(copy.deepcopy(model.family).pipeline(), diffusers)[0], trained) <= TOLERANCE
    again = rewritten(kohya, KOHYA, PEFT, tmp_path / "again") / "unet"
    assert json.loads((again / "adapter_config.json").read_text())["rank_pattern"]
    loaded = PeftModel.from_pretrained(plain, again)
    changes = {f"unet.{name}": one for name, (one, _) in merged_changes(loaded.get_base_model()).items()}
    assert difference(changes, trained) <= TOLERANCE


@pytest.mark.parametrize(("name", "places_of"), [("flux", flux_places), ("flux2-klein", flux2_places)])
def test_the_joined_layers_of_flux_as_sd_scripts_writes_them_are_divided(
    tmp_path: Path, name: str, places_of: Callable[[Mapping[str, Any], list[str]], dict[str, Place]]
) -> None:
    """And musubi-tuner those of FLUX.2, under the same names."""
    model = load(MODELS[name], tmp_path / "model")
    places = places_of(model.base.config, model.base.of("transformer"))
    generator = torch.Generator().manual_seed(5)
    file: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}
    for weight in dict.fromkeys(place.weight for place in places.values()):
        parts = {module: place for module, place in places.items() if place.weight == weight}
        if not weight.startswith(("double_blocks.", "single_blocks.")):
            continue
        first = model.base.weights[f"transformer.{next(iter(parts))}"]
        rows = sum(model.base.weights[f"transformer.{module}"].shape[0] for module in parts)
        down = torch.randn((2, first.shape[1]), generator=generator)
        up = torch.randn((rows, 2), generator=generator)
        key = f"lora_unet_{weight.removesuffix('.weight')}".replace(".", "_")
        file |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.0)}
        for module, place in parts.items():
            start, size = place.rows or (0, rows)
            wanted[f"transformer.{module}"] = (up @ down / 2)[start : start + size]
    assert any(place.rows for place in places.values())
    source = tmp_path / "flux.safetensors"
    save_file(file, source)
    made = rewritten(source, KOHYA, DIFFUSERS, tmp_path / "made.safetensors")
    changes, left_over = applied(copy.deepcopy(model.family).pipeline(), made)
    assert left_over == 0
    assert difference(changes, wanted) <= TOLERANCE


@pytest.mark.parametrize(
    "settings", ['{"unet.r": 1e400, "unet.lora_alpha": 4}', f'{{"unet.lora_alpha": 1{"0" * 400}}}']
)
def test_settings_beyond_all_numbers_are_refused(settings: str) -> None:
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        adapter_config.of_component({"lora_adapter_metadata": settings}, "unet")
