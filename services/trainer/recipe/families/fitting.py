"""Whether a base model is one that its family's training knows, told from configurations alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from services.trainer.recipe.families.facts import Config, FamilyFacts

LIBRARIES = ("diffusers", "transformers")
_CHECKPOINTS = {
    "a LoRA, which needs a base model itself": re.compile(r"\.lora_(down|up|A|B)\.|\.(hada|lokr)_w"),
    "a ControlNet, which steers a base model": re.compile(r"^control_model\.|^controlnet_"),
    "a model of moving pictures": re.compile(r"temporal_transformer|motion_modules?\.|time_stack\.|time_mixer"),
}
"""What is shared as a single checkpoint and is no base model of pictures, by the name of some tensor."""
_DISTILLED = ("LCMScheduler", "TCDScheduler")
_FLOWS = "FlowMatch"


def misfit(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    """What the model is instead, as the end of a sentence that begins with "it", or None when it fits.

    What a configuration does not say is not held against the model, so this works with the few that a file gives.

    Args:
        configs: by component, ``scheduler`` among them.
    """
    checks: tuple[Callable[[FamilyFacts, Mapping[str, Config]], str | None], ...] = (
        _other_kind,
        _distilled,
        _channels,
        _settings,
        _text_widths,
        _prediction_type,
    )
    if facts.denoiser.component not in configs:
        return None
    return next((found for check in checks if (found := check(facts, configs))), None)


def misfit_of_index(facts: FamilyFacts, index: Config, others: Iterable[FamilyFacts]) -> str | None:
    """The same from the classes of ``model_index.json``; those of other libraries are for the loader to refuse."""
    if facts.denoiser.component not in index:
        found = [other for other in others if other.denoiser.component in index]
        return f"is no model of {facts.title}: it has a {found[0].denoiser.component} as denoiser" if found else None
    for component, wanted in facts.classes.items():
        library, given = _class(index.get(component))
        if library in LIBRARIES and given != wanted:
            return f"has {given} as {component_words(component)}, where {facts.title} has {wanted}"
    if "motion_adapter" in index:
        return "is a model of moving pictures"
    return _other_noise(facts, _class(index.get("scheduler"))[1])


def _other_noise(facts: FamilyFacts, scheduler: object) -> str | None:
    """The class of a scheduler says how a model was trained where the configurations do not."""
    if scheduler in _DISTILLED:
        return f"is a distilled model ({scheduler}), which draws in a few steps and would forget how"
    if not isinstance(scheduler, str) or scheduler.startswith(_FLOWS) is not bool(facts.prediction_types):
        return None
    how = "by flow matching" if facts.prediction_types else "with noise of another kind"
    return f"was trained {how} ({scheduler}), unlike {facts.title}"


def misfit_of_checkpoint(names: Iterable[str]) -> str | None:
    """The same of a single checkpoint, by the names of its tensors."""
    names = list(names)
    for kind, sign in _CHECKPOINTS.items():
        if any(sign.search(name) for name in names):
            return f"is {kind}"
    return None


def _class(entry: object) -> tuple[object, object]:
    return (entry[0], entry[1]) if isinstance(entry, list) and len(entry) == 2 else (None, None)


def _other_kind(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    kind = facts.other_kind(configs) if facts.other_kind else None
    return f"is {kind}" if kind else None


def _distilled(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    """Consistency models are told the guidance as an embedding, which ordinary ones do not know."""
    if configs[facts.denoiser.component].get("time_cond_proj_dim") is None:
        return None
    return "is a distilled model (LCM), which draws in a few steps and would forget how"


def _channels(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    denoiser, name = facts.denoiser, component_words(facts.denoiser.component)
    vae = configs.get("vae", {})
    latent = vae.get("latent_channels") or vae.get("z_dim") or facts.autoencoder.channels
    wanted = latent * denoiser.channels_per_latent
    taken = configs[denoiser.component].get("in_channels", wanted)
    # Models that predict in other units than they take, such as learned variances, give more back.
    back = latent if denoiser.answers_unpacked else wanted
    given = configs[denoiser.component].get("out_channels") or back
    if taken != wanted:
        kind = denoiser.other_inputs.get(taken, "")
        what = f"is {kind}: its" if kind else "does not fit together: its"
        return f"{what} {name} takes {taken} channels, and its latents have {wanted}"
    if given != back:
        return f"does not fit together: its {name} answers with {given} channels, and its latents have {back}"
    return None


def _settings(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    config = configs[facts.denoiser.component]
    for key, wanted in facts.denoiser.settings.items():
        if key in config and config[key] != wanted:
            name = component_words(facts.denoiser.component)
            return f"is no model of {facts.title}: {key} of its {name} is {config[key]}, not {wanted}"
    return None


def _text_widths(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    widths = {encoder.component: encoder.width for encoder in facts.text_encoders}
    for key, components in facts.denoiser.text_widths.items():
        wanted = configs[facts.denoiser.component].get(key)
        given: list[int | None] = [_at(configs.get(component, {}), widths[component]) for component in components]
        known = [width for width in given if width is not None]
        if isinstance(wanted, int) and len(known) == len(given) and sum(known) != wanted:
            takes = f"its {component_words(facts.denoiser.component)} takes text of width {wanted}"
            return f"does not fit together: {takes}, and its text encoders give {sum(known)}"
    return None


def _at(config: Config, path: str) -> int | None:
    """The number in a configuration at a key, or at the key of a part; None where it says nothing."""
    outer, _, inner = path.rpartition(".")
    part = config.get(outer, {}) if outer else config
    found = part.get(inner) if isinstance(part, Mapping) else None
    return found if isinstance(found, int) else None


def _prediction_type(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    given = configs.get("scheduler", {}).get("prediction_type")
    if facts.prediction_types and given is not None and given not in facts.prediction_types:
        return f"predicts {given}, which is none of {', '.join(facts.prediction_types)}"
    without_signal = facts.prediction_types and configs.get("scheduler", {}).get("rescale_betas_zero_snr")
    if without_signal and (given or "epsilon") == "epsilon":
        # Where nothing of the picture is left, the noise says nothing of it either.
        return "has a last noise level without any signal (zero terminal SNR), which epsilon prediction cannot use"
    return None


def component_words(component: str) -> str:
    """What people call a component of a pipeline."""
    return {"unet": "UNet", "vae": "autoencoder"}.get(component, component.replace("_", " "))
