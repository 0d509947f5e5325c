"""Every family trains, samples, exports and reads its files back, on miniatures of the real configuration classes.

DoRA trains with one family of each kind of denoiser; its files are those of every family in `test_file_readers.py`.
`make matrix` sets `FIVESHOT_READERS=all`, which trains DoRA with every family.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from services.trainer.engine.errors import EngineError
from services.trainer.engine.export import write_artifacts
from services.trainer.engine.families import load_family
from services.trainer.engine.families.flux import pack, positions, unpack
from services.trainer.engine.job import BaseModelFiles, Command, EpochResult, Hooks, RunStatus, TrainJobSpec
from services.trainer.engine.lora import add_adapters, trained_weights
from services.trainer.engine.metadata import RunFacts, lora_metadata
from services.trainer.engine.train_loop import train
from services.trainer.recipe.families import families
from services.trainer.recipe.families.sdxl import sgm_name
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import PictureSize, plan_job
from tests.fixtures.chat_tokenizers import CHAT_TOKENS
from tests.fixtures.miniatures import MINIATURES

MakeSpec = Callable[..., TrainJobSpec]
GROUPS = ("attention", "attention_ff", "all")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BaseModelFiles]:
    folder = tmp_path_factory.mktemp("families")
    return {name: write(folder / name) for name, write in MINIATURES.items()}


def test_every_family_has_a_miniature(models: dict[str, BaseModelFiles]) -> None:
    assert {files.family for files in models.values()} == set(families())


@pytest.mark.parametrize("family", MINIATURES)
def test_the_facts_are_true_of_the_loaded_model(models: dict[str, BaseModelFiles], family: str) -> None:
    files = models[family]
    facts = families()[files.family]
    loaded = load_family(files, torch.device("cpu"), torch.float32)
    pipeline = loaded.pipeline()
    assert {name: type(getattr(pipeline, name)).__name__ for name in facts.classes} == facts.classes
    assert loaded.latent_channels == facts.autoencoder.channels
    assert next(iter(loaded.components)) == facts.denoiser.component
    trained = [encoder.component for encoder in facts.text_encoders if encoder.targets]
    assert list(loaded.components) == [facts.denoiser.component, *trained]
    tokens = loaded.token_ids(["a red ball " * 200])
    for encoder in facts.text_encoders:
        assert tokens[encoder.component].shape[1] <= encoder.token_limit
    for component in loaded.components:
        small, more, every = (loaded.targets(component, group) for group in GROUPS)
        assert small
        assert set(small) < set(more) <= set(every)
        endings = {name for group in ("attention", "attention_ff") for name in getattr(facts.targets(component), group)}
        assert all(any(name.endswith(f".{ending}") for name in more) for ending in endings)


@pytest.mark.parametrize("family", MINIATURES)
def test_files_are_named_and_described_by_the_facts(
    make_spec: MakeSpec,
    models: dict[str, BaseModelFiles],
    parameters: Callable[..., TrainingParameters],
    family: str,
    tmp_path: Path,
) -> None:
    files = models[family]
    facts = families()[files.family]
    loaded = load_family(files, torch.device("cpu"), torch.float32)
    chosen = parameters(adapter="lora", target_modules="all", train_text_encoder=True)
    carriers = add_adapters(loaded, chosen)
    spec = make_spec(job={"base_model": files})
    plan = plan_job([PictureSize(48, 48)] * 3, spec.parameters, 4)
    noise = (loaded.schedule.prediction_type, loaded.schedule.zero_terminal_snr)
    metadata = lora_metadata(spec, RunFacts("0" * 64, plan.buckets, plan.steps, "session", *noise), 1, 3)
    predicts = {"stable-diffusion": "epsilon", "sdxl": "epsilon"}.get(family, "v") if facts.prediction_types else None
    assert metadata.get("modelspec.prediction_type") == predicts
    assert metadata["ss_zero_terminal_snr"] == str(family == "sdxl-v")
    architecture = facts.architecture(files.architecture)
    assert metadata["ss_v2"] == ("True" if family == "stable-diffusion-2" else "False") == str(architecture.v2)
    assert metadata["ss_base_model_version"] == architecture.base_version
    assert metadata["modelspec.architecture"] == f"{architecture.name}/lora"
    artifacts = write_artifacts(tmp_path, "x", loaded, carriers, chosen, metadata)
    assert [artifact.path.name for artifact in artifacts] == [f"x{form.ending}.safetensors" for form in facts.forms]
    for artifact, form in zip(artifacts, facts.forms, strict=True):
        keys = list(load_file(artifact.path))
        for component in carriers:
            prefix = f"{form.prefixes[component]}_" if form.prefixes else f"{component}."
            level = "text_model" if component.startswith("text_encoder") else ""
            assert any(key.startswith(prefix + level) for key in keys), (form.form, component)
            if level:
                assert all(key.startswith(prefix + level) for key in keys if key.startswith(prefix))
    for artifact in artifacts:
        with safe_open(artifact.path, "pt") as opened:
            assert metadata.items() <= opened.metadata().items()
    with safe_open(artifacts[-1].path, "pt") as opened:
        settings = json.loads(opened.metadata()["lora_adapter_metadata"])
    known = {"r", "lora_alpha", "target_modules", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern"}
    assert {key.partition(".")[2] for key in settings} == known


FROZEN = ("z-image", "flux2-klein", "flux2-dev", "qwen-image")
"""Families whose text encoders never learn: their transformers alone have to, in a few steps."""
TRAININGS: dict[str, dict[str, Any]] = {
    "text-encoders": {"train_text_encoder": True, "min_snr_gamma": 5.0, "noise_offset": 0.05},
    "dora": {"adapter": "dora", "timestep_sampling": "logit_normal", "timestep_shift": 3.0},
    "bf16": {"mixed_precision": "bf16", "gradient_checkpointing": True},
}
DORA = MINIATURES.keys() if os.environ.get("FIVESHOT_READERS") == "all" else {
    "stable-diffusion", "flux", "qwen-image", "sd3",
}  # fmt: skip


def trainings(family: str) -> list[str]:
    """What the family is trained with."""
    if family == "sdxl-v":
        # It differs from the other row of XL by the noise alone, and its steps are the slowest of all.
        return ["text-encoders"]
    return [kind for kind in TRAININGS if kind != "dora" or family in DORA]


@pytest.mark.parametrize(("family", "changes"), [(name, kind) for name in MINIATURES for kind in trainings(name)])
def test_a_family_trains_and_its_files_give_the_model_back(
    make_spec: MakeSpec, models: dict[str, BaseModelFiles], family: str, changes: str
) -> None:
    epochs: list[EpochResult] = []
    own = {"learning_rate": 3e-2} if family in FROZEN else {}
    spec = make_spec(job={"base_model": models[family]}, num_epochs=1, num_repeats=4, **TRAININGS[changes], **own)
    train(spec, Hooks(on_epoch=epochs.append))
    (result,) = epochs
    assert result.evaluation.fit_loss < result.evaluation.base_fit_loss
    assert result.evaluation.drift > 0.0
    assert result.max_reload_difference < (0.05 if changes == "bf16" else 1e-4)
    assert [artifact.form for artifact in result.artifacts] == [
        form.form for form in families()[models[family].family].forms
    ]


@pytest.mark.parametrize("family", ["sdxl-v", *FROZEN, "chroma", "sd3"])
def test_a_family_goes_on_from_a_pause_to_the_same_bytes(
    make_spec: MakeSpec, models: dict[str, BaseModelFiles], family: str
) -> None:
    """Also where its texts were encoded anew, and others beside them."""
    changes = {"num_epochs": 1, "preview_steps": 1, "timestep_sampling": "by_resolution"}
    epochs: list[EpochResult] = []
    train(make_spec("whole", job={"base_model": models[family]}, **changes), Hooks(on_epoch=epochs.append))
    paused = train(
        make_spec("part", job={"base_model": models[family]}, **changes), Hooks(control=lambda: Command.PAUSE)
    )
    assert (paused.status, paused.step) == (RunStatus.PAUSED, 1)
    job = {"base_model": models[family], "resume_from": paused.checkpoint_dir}
    train(make_spec("rest", job=job, **changes), Hooks(on_epoch=epochs.append))
    whole, resumed = epochs
    assert [file.sha256 for file in whole.artifacts] == [file.sha256 for file in resumed.artifacts]
    assert whole.evaluation == resumed.evaluation


def test_sdxl_files_use_the_original_names(make_spec: MakeSpec, models: dict[str, BaseModelFiles]) -> None:
    epochs: list[EpochResult] = []
    train(make_spec(job={"base_model": models["sdxl"]}, num_epochs=1), Hooks(on_epoch=epochs.append))
    modules = {key.split(".")[0] for key in load_file(epochs[0].artifacts[0].path)}
    assert "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q" in modules
    assert "lora_unet_middle_block_0_in_layers_2" in modules
    assert not any("down_blocks" in module for module in modules)


@pytest.mark.parametrize(
    ("diffusers", "original"),
    [
        ("down_blocks.0.resnets.0.conv1", "input_blocks.1.0.in_layers.2"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
        ("down_blocks.1.resnets.0.conv_shortcut", "input_blocks.4.0.skip_connection"),
        ("down_blocks.2.attentions.1.proj_out", "input_blocks.8.1.proj_out"),
        ("mid_block.resnets.1.time_emb_proj", "middle_block.2.emb_layers.1"),
        ("mid_block.attentions.0.proj_in", "middle_block.1.proj_in"),
        ("up_blocks.0.resnets.2.conv2", "output_blocks.2.0.out_layers.3"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
        ("up_blocks.2.resnets.2.conv1", "output_blocks.8.0.in_layers.2"),
    ],
)
def test_sgm_names_of_the_real_sdxl_layout(diffusers: str, original: str) -> None:
    assert sgm_name(diffusers, layers_per_block=2) == original


def test_flux_packs_latents_as_the_pipeline_does() -> None:
    latents = torch.randn(2, 4, 6, 8)
    tokens = pack(latents)
    torch.testing.assert_close(tokens, FluxPipeline._pack_latents(latents, 2, 4, 6, 8))
    torch.testing.assert_close(unpack(tokens, 6, 8), latents)
    expected = FluxPipeline._prepare_latent_image_ids(2, 3, 4, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(positions(3, 4, torch.device("cpu")), expected)


def _unpacked(given: Any, answered: Any) -> tuple[Tensor, Tensor]:
    return unpack(given, 8, 8), unpack(answered, 8, 8)


def _of_films(given: Any, answered: Any) -> tuple[Tensor, Tensor]:
    return torch.stack(list(given)).squeeze(2), -torch.stack(answered).squeeze(2)


SEEN: dict[str, tuple[dict[str, Any], Callable[[Any, Any], tuple[Tensor, Tensor]], Callable[[Tensor], Tensor]]] = {
    "flux": ({"max_sequence_length": 12}, _unpacked, lambda told: told),
    "flux2-klein": ({"max_sequence_length": CHAT_TOKENS}, _unpacked, lambda told: told),
    "flux2-dev": ({"max_sequence_length": CHAT_TOKENS}, _unpacked, lambda told: told),
    # Its solver cannot take a single step.
    "qwen-image": ({"true_cfg_scale": 1.0, "num_inference_steps": 2}, _unpacked, lambda told: told),
    "z-image": ({"max_sequence_length": CHAT_TOKENS}, _of_films, lambda told: 1.0 - told),
    # As many as the caption has, and one that pads it: the pipeline weakens those that do not count instead of leaving
    # them out.
    "chroma": ({"max_sequence_length": 8}, _unpacked, lambda told: told),
    "sd3": ({"max_sequence_length": 12}, lambda given, answered: (given, answered), lambda told: told / 1000),
}
"""How a family's pipeline is called, what its denoiser takes and gives as latents, and the position it is told."""


@pytest.mark.parametrize("family", MINIATURES)
def test_the_engine_predicts_what_the_pipeline_would(models: dict[str, BaseModelFiles], family: str) -> None:
    """The last solver step of the pipeline from its own noise must use the prediction that the engine trains."""
    loaded = load_family(models[family], torch.device("cpu"), torch.float32)
    pipeline = loaded.pipeline()
    seen: dict[str, Any] = {}
    denoiser = loaded.denoiser

    def record(_module: Any, arguments: tuple[Any, ...], named: dict[str, Any], answer: Any) -> None:
        seen.update(noisy=named["hidden_states"] if "hidden_states" in named else arguments[0], answer=answer[0])
        seen["timestep"] = named["timestep"] if "timestep" in named else arguments[1]

    handle = denoiser.register_forward_hook(record, with_kwargs=True)
    pipeline.set_progress_bar_config(disable=True)
    options, latents, position = SEEN.get(family, ({}, lambda given, answered: (given, answered), lambda told: told))
    pipeline(
        prompt=["a cat"],
        guidance_scale={"z-image": 0.0, "qwen-image": None}.get(family, 1.0),
        height=16,
        width=16,
        output_type="latent",
        **{"num_inference_steps": 1, **options},
    )
    handle.remove()
    with torch.no_grad():
        noisy, expected = latents(seen["noisy"], seen["answer"])
        timestep = position(seen["timestep"].reshape(-1)).expand(len(noisy))
        answer = loaded.predict(noisy, timestep, loaded.encode_text(["a cat"]))
        among = loaded.predict(
            noisy.repeat(2, 1, 1, 1), timestep.repeat(2), loaded.encode_text(["a cat", "a dog on a boat"])
        )
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-4)
    # Beside a longer text in a batch it is the same.
    torch.testing.assert_close(among[:1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", [name for name, facts in families().items() if facts.denoiser.component != "unet"])
def test_checkpointing_computes_the_same_where_texts_are_unequal(
    models: dict[str, BaseModelFiles], parameters: Callable[..., TrainingParameters], family: str
) -> None:
    """A block that is computed again must be told all that it was told the first time, such as masks."""
    loaded = load_family(models[family], torch.device("cpu"), torch.float32)
    weights = trained_weights(add_adapters(loaded, parameters(target_modules="attention")))
    torch.manual_seed(1)
    for weight in weights.values():
        torch.nn.init.normal_(weight, std=0.1)
    noisy, told = torch.randn(2, loaded.latent_channels, 8, 8), torch.tensor([0.4, 0.6])
    texts = loaded.encode_text(["a red ball", "a dog"])

    def gradients() -> tuple[Tensor, ...]:
        answer = loaded.predict(noisy, told, texts)
        return (answer, *torch.autograd.grad(answer.square().mean(), list(weights.values())))

    plain = gradients()
    loaded.enable_gradient_checkpointing()
    for one, other in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(one, other)


def test_an_adapter_that_no_tool_reads_is_refused(
    make_spec: MakeSpec, models: dict[str, BaseModelFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = families()["flux"]
    unread = replace(facts, forms=tuple(form for form in facts.forms if form.form == "diffusers"))
    monkeypatch.setattr("services.trainer.engine.families.flux.Flux.facts", unread)
    with pytest.raises(EngineError) as caught:
        train(make_spec(job={"base_model": models["flux"]}, adapter="lokr"))
    assert caught.value.reason == "ADAPTER_UNSUPPORTED"


@pytest.mark.parametrize("family", MINIATURES)
def test_every_trained_weight_has_a_part_in_the_prediction(
    models: dict[str, BaseModelFiles], parameters: Callable[..., TrainingParameters], family: str
) -> None:
    """A weight without a gradient would be exported as it was drawn."""
    loaded = load_family(models[family], torch.device("cpu"), torch.float32)
    carriers = add_adapters(loaded, parameters(target_modules="all", train_text_encoder=True))
    weights = trained_weights(carriers)
    for weight in weights.values():
        torch.nn.init.normal_(weight, std=0.1)
    positions = torch.tensor([0.4, 0.6])
    noisy = torch.randn(2, loaded.latent_channels, 8, 8)
    answer = loaded.predict(noisy, loaded.schedule.timesteps(positions), loaded.encode_text(["a red ball", "a dog"]))
    gradients = torch.autograd.grad(answer.square().mean(), list(weights.values()), allow_unused=True)
    found = dict(zip(weights, gradients, strict=True))
    assert [name for name, gradient in found.items() if gradient is None or not gradient.any()] == []
