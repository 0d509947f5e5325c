"""Whether a base model is one that its family's training knows, told from configurations alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from services.trainer.recipe.families.facts import Config, FamilyFacts

_LIBRARIES = ("diffusers", "transformers")


def misfit(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    """What the model is instead, as the end of a sentence that begins with "it", or None when it fits.

    What a configuration does not say is not held against the model, so this works with the few that a file gives.

    Args:
        configs: by component, ``scheduler`` among them.
    """
    checks: tuple[Callable[[FamilyFacts, Mapping[str, Config]], str | None], ...] = (
        _other_kind,
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
        if library in _LIBRARIES and given != wanted:
            return f"has {given} as {_words(component)}, where {facts.title} has {wanted}"
    return None


def _class(entry: object) -> tuple[object, object]:
    return (entry[0], entry[1]) if isinstance(entry, list) and len(entry) == 2 else (None, None)


def _other_kind(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    kind = facts.other_kind(configs) if facts.other_kind else None
    return f"is {kind}" if kind else None


def _channels(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    denoiser, name = facts.denoiser, _words(facts.denoiser.component)
    latent = configs.get("vae", {}).get("latent_channels", facts.autoencoder.channels)
    wanted = latent * denoiser.channels_per_latent
    taken = configs[denoiser.component].get("in_channels", wanted)
    # Models that predict in other units than they take, such as learned variances, give more back.
    given = configs[denoiser.component].get("out_channels") or wanted
    if taken != wanted:
        kind = denoiser.other_inputs.get(taken, "")
        what = f"is {kind}: its" if kind else "does not fit together: its"
        return f"{what} {name} takes {taken} channels, and its latents have {wanted}"
    if given != wanted:
        return f"does not fit together: its {name} answers with {given} channels, and its latents have {wanted}"
    return None


def _settings(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    config = configs[facts.denoiser.component]
    for key, wanted in facts.denoiser.settings.items():
        if key in config and config[key] != wanted:
            name = _words(facts.denoiser.component)
            return f"is no model of {facts.title}: {key} of its {name} is {config[key]}, not {wanted}"
    return None


def _text_widths(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    widths = {encoder.component: encoder.width for encoder in facts.text_encoders}
    for key, components in facts.denoiser.text_widths.items():
        wanted = configs[facts.denoiser.component].get(key)
        given: list[int | None] = [configs.get(component, {}).get(widths[component]) for component in components]
        known = [width for width in given if width is not None]
        if isinstance(wanted, int) and len(known) == len(given) and sum(known) != wanted:
            takes = f"its {_words(facts.denoiser.component)} takes text of width {wanted}"
            return f"does not fit together: {takes}, and its text encoders give {sum(known)}"
    return None


def _prediction_type(facts: FamilyFacts, configs: Mapping[str, Config]) -> str | None:
    given = configs.get("scheduler", {}).get("prediction_type")
    if facts.prediction_types and given is not None and given not in facts.prediction_types:
        return f"predicts {given}, which is none of {', '.join(facts.prediction_types)}"
    without_signal = facts.prediction_types and configs.get("scheduler", {}).get("rescale_betas_zero_snr")
    if without_signal and (given or "epsilon") == "epsilon":
        # Where nothing of the picture is left, the noise says nothing of it either.
        return "has a last noise level without any signal (zero terminal SNR), which epsilon prediction cannot use"
    return None


def _words(component: str) -> str:
    return {"unet": "UNet", "vae": "autoencoder"}.get(component, component.replace("_", " "))
