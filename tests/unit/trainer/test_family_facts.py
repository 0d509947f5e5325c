"""Facts about families agree with the published configurations, and what is no model of a family is told by its own."""

from __future__ import annotations

from typing import Any

import pytest

from services.trainer.recipe.families import families
from services.trainer.recipe.families.facts import Config
from services.trainer.recipe.families.fitting import misfit, misfit_of_index
from services.trainer.recipe.parameters import DEFAULT_SPECS

PUBLISHED = [(facts, name) for facts in families().values() for name in facts.published]


def published(family: str, name: str, **changes: dict[str, Any]) -> dict[str, Config]:
    parts = families()[family].published[name].parts
    return {component: {**config, **changes.get(component, {})} for component, config in parts.items()}


@pytest.mark.parametrize(("facts", "name"), PUBLISHED, ids=[name for _, name in PUBLISHED])
def test_a_published_model_fits_its_facts(facts: Any, name: str) -> None:
    parts = facts.published[name].parts
    assert misfit(facts, parts) is None
    channels, levels = ("z_dim", "dim_mult") if "z_dim" in parts["vae"] else ("latent_channels", "block_out_channels")
    assert parts["vae"][channels] == facts.autoencoder.channels
    assert 2 ** (len(parts["vae"][levels]) - 1) == facts.autoencoder.factor
    assert set(parts) == set(facts.classes)


@pytest.mark.parametrize("facts", families().values(), ids=families())
def test_every_form_has_a_prefix_for_each_component_and_a_module_for_each_adapter(facts: Any) -> None:
    carriers = {facts.denoiser.component, *(encoder.component for encoder in facts.text_encoders if encoder.targets)}
    for form in facts.forms:
        assert form.form != "kohya" or set(form.prefixes) == carriers
    assert set(facts.network_modules) == facts.adapters
    offered = next(spec.choices for spec in DEFAULT_SPECS if spec.name == "adapter")
    assert facts.adapters <= set(offered)


@pytest.mark.parametrize(
    ("family", "name", "changes", "words"),
    [
        ("stable-diffusion", "sd-1.5", {"unet": {"in_channels": 9}}, "is an inpainting model"),
        ("stable-diffusion", "sd-1.5", {"unet": {"in_channels": 8}}, "is an InstructPix2Pix model"),
        ("stable-diffusion", "sd-2.1", {"unet": {"in_channels": 5}}, "is a depth-to-image model"),
        ("stable-diffusion", "sd-2.1", {"unet": {"in_channels": 7}}, "is an upscaler"),
        ("stable-diffusion", "sd-1.5", {"unet": {"in_channels": 6}}, "UNet takes 6 channels, and its latents have 4"),
        ("stable-diffusion", "sd-1.5", {"unet": {"out_channels": 8}}, "answers with 8 channels"),
        ("stable-diffusion", "sd-1.5", {"unet": {"in_channels": 4}, "vae": {"latent_channels": 16}}, "latents have 16"),
        ("stable-diffusion", "sd-1.5", {"unet": {"cross_attention_dim": 1024}}, "its text encoders give 768"),
        ("stable-diffusion", "sd-2.1", {"unet": {"class_embed_type": "projection"}}, "class_embed_type"),
        ("stable-diffusion", "sd-1.5", {"unet": {"addition_embed_type": "text_time"}}, "no model of Stable"),
        ("sdxl", "sdxl", {"unet": {"in_channels": 9}}, "is an inpainting model"),
        ("sdxl", "sdxl", {"unet": {"projection_class_embeddings_input_dim": 2560}}, "is an SDXL refiner"),
        ("sdxl", "sdxl", {"unet": {"cross_attention_dim": 1280}}, "width 1280"),
        ("flux", "flux-1", {"transformer": {"in_channels": 384}}, "is a fill model"),
        ("flux", "flux-1", {"transformer": {"in_channels": 128}}, "is a control model"),
        ("flux", "flux-1", {"transformer": {"in_channels": 96}}, "transformer takes 96 channels"),
        ("flux", "flux-1", {"transformer": {"joint_attention_dim": 2048}}, "width 2048"),
        ("flux2-klein", "flux2-klein-4b", {"transformer": {"guidance_embeds": True}}, "guidance_embeds"),
        ("flux2-klein", "flux2-klein-4b", {"transformer": {"joint_attention_dim": 12288}}, "encoders give 7680"),
        ("flux2-dev", "flux2-dev", {"transformer": {"joint_attention_dim": 7680}}, "encoders give 15360"),
        ("qwen-image", "qwen-image", {"transformer": {"zero_cond_t": True}}, "zero_cond_t"),
        ("qwen-image", "qwen-image", {"transformer": {"out_channels": 64}}, "answers with 64 channels"),
        ("qwen-image", "qwen-image", {"transformer": {"joint_attention_dim": 2048}}, "encoders give 3584"),
        ("chroma", "chroma", {"transformer": {"in_channels": 128}}, "transformer takes 128 channels"),
        ("sd3", "sd-3.5-large", {"transformer": {"qk_norm": None}}, "qk_norm of its transformer is None"),
        ("sd3", "sd-3.5-medium", {"transformer": {"joint_attention_dim": 2048}}, "its text encoders give 4096"),
        ("sd3", "sd-3.5-medium", {"transformer": {"pooled_projection_dim": 1280}}, "its text encoders give 2048"),
        ("z-image", "z-image", {"transformer": {"siglip_feat_dim": 1152}}, "siglip_feat_dim"),
        ("z-image", "z-image", {"transformer": {"cap_feat_dim": 4096}}, "its text encoders give 2560"),
    ],
)  # fmt: skip
def test_what_is_no_model_of_the_family_is_told(family: str, name: str, changes: Any, words: str) -> None:
    found = misfit(families()[family], published(family, name, **changes))
    assert found is not None
    assert words in found


def test_an_unknown_prediction_is_told() -> None:
    configs = {**published("stable-diffusion", "sd-1.5"), "scheduler": {"prediction_type": "flow_prediction"}}
    assert "flow_prediction" in str(misfit(families()["stable-diffusion"], configs))


def test_the_index_of_another_family_or_with_another_autoencoder_is_told() -> None:
    index = {name: ["diffusers", one] for name, one in families()["flux"].classes.items()}
    found = misfit_of_index(families()["sdxl"], index, families().values())
    assert found == "is no model of Stable Diffusion XL: it has a transformer as denoiser"
    ours = {name: ["diffusers", one] for name, one in families()["sdxl"].classes.items()}
    assert misfit_of_index(families()["sdxl"], ours, families().values()) is None
    other = {**ours, "vae": ["diffusers", "AutoencoderTiny"]}
    assert "AutoencoderTiny as autoencoder" in str(misfit_of_index(families()["sdxl"], other, families().values()))
