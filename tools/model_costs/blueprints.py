"""Base models as configurations: what is needed to build their modules without weights.

The published models are in the facts of their families; our small base is read from its folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from services.trainer.engine.families import family_class
from services.trainer.engine.families.base import Family
from services.trainer.recipe.families import families
from services.trainer.recipe.families.facts import Config, FamilyFacts, Published, TextEncoder


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A base model of a family, as its configurations."""

    facts: FamilyFacts
    model: Published

    @property
    def side(self) -> int:
        """Pixels of the square that it was trained at."""
        return self.model.side

    def mixture(self) -> list[tuple[int, Blueprint]]:
        """Thin models, and how often each counts for this one: the sum of them is the whole."""
        if self.model.mixture:
            return [(count, self._changed(changes)) for count, changes in self.model.mixture]
        repeated = self.model.repeated
        if not repeated:
            return [(1, self)]
        # Nothing before the first block learns: alone it would stand for no other.
        fewest = 2 if len(repeated) == 1 else 1
        few = dict.fromkeys(repeated, fewest)
        more = [(count - fewest, self._with({**few, name: fewest + 1})) for name, count in repeated.items()]
        return [(1 - sum(count for count, _ in more), self._with(few)), *more]

    def short_of_text(self) -> Blueprint:
        """The same with text encoders of few layers, where their work is never counted: nothing else depends on it."""
        if not self.facts.text_stays_frozen:
            return self
        short = {
            each.component: _shortened(each, self.model.parts[each.component]) for each in self.facts.text_encoders
        }
        return replace(self, model=replace(self.model, parts={**self.model.parts, **short}))

    def _with(self, repeats: Mapping[str, int]) -> Blueprint:
        denoiser = self.facts.denoiser.component
        config = dict(self.model.parts[denoiser])
        for name, count in repeats.items():
            config[name] = (*config[name][:-1], count) if isinstance(config.get(name), tuple) else count
        return self._changed(config)

    def _changed(self, changes: Config) -> Blueprint:
        denoiser = self.facts.denoiser.component
        config = {**self.model.parts[denoiser], **changes}
        return replace(self, model=Published(self.model.side, {**self.model.parts, denoiser: config}))


@dataclass(frozen=True, slots=True)
class Built:
    """A family over modules that were just built, and the modules that a family keeps to itself."""

    family: Family
    autoencoder: Any
    text_encoders: tuple[nn.Module, ...]


BLUEPRINTS: dict[str, Blueprint] = {
    name: Blueprint(facts, model) for facts in families().values() for name, model in facts.published.items()
}


def blueprint_of_folder(folder: Path, family: str, side: int) -> Blueprint:
    """The blueprint of a base model that lies in diffusers layout."""
    parts = {path.parent.name: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*/config.json"))}
    return Blueprint(families()[family], Published(side, parts))


def build(blueprint: Blueprint, dtype: torch.dtype) -> Built:
    """The family with fresh modules. Call it where tensors are fake, or it allocates the whole model."""
    with _nothing_drawn():
        vae = getattr(diffusers, blueprint.facts.autoencoder.class_name).from_config(dict(blueprint.model.parts["vae"]))
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with modules_stay(), _nothing_drawn():
            return _assembled(blueprint, vae, dtype)
    finally:
        torch.set_default_dtype(before)


@contextmanager
def modules_stay() -> Iterator[None]:
    """Makes `Module.to` do nothing: fake weights cannot be converted, and they are made in the right format at once."""
    to = nn.Module.to
    nn.Module.to = lambda module, *_, **__: module  # type: ignore[assignment]
    try:
        yield
    finally:
        nn.Module.to = to  # type: ignore[method-assign]


@contextmanager
def _nothing_drawn() -> Iterator[None]:
    """Weights that hold nothing need no first values, which would take most of the time of a count."""
    drawing = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    before = {name: getattr(nn.init, name) for name in drawing}
    for name in drawing:
        setattr(nn.init, name, lambda tensor, *_, **__: tensor)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(nn.init, name, function)


def _assembled(blueprint: Blueprint, vae: Any, dtype: torch.dtype) -> Built:
    facts, parts = blueprint.facts, blueprint.model.parts
    encoders = {encoder.component: _text_encoder(encoder, parts) for encoder in facts.text_encoders}
    denoiser = getattr(diffusers, facts.denoiser.class_name)
    held = {
        "vae": vae,
        **encoders,
        **{
            encoder.tokenizer: _Tokenizer(_tokens(encoder, parts[encoder.component])) for encoder in facts.text_encoders
        },
        facts.denoiser.component: denoiser.from_config(dict(parts[facts.denoiser.component])),
        "scheduler": diffusers.DDPMScheduler(),
    }
    family = family_class(facts.name)(SimpleNamespace(**held), torch.device("cpu"), dtype, "none")
    return Built(family, vae, tuple(encoders.values()))


def _text_encoder(encoder: TextEncoder, parts: Mapping[str, Config]) -> Any:
    built = getattr(transformers, encoder.class_name)
    return built(built.config_class(**_for_transformers(parts[encoder.component])))


def _shortened(encoder: TextEncoder, config: Config) -> Config:
    layers = {"num_hidden_layers": encoder.depth + 1}
    part, _, _ = encoder.width.rpartition(".")
    return {**config, part: {**config[part], **layers}} if part else {**config, **layers}


def _tokens(encoder: TextEncoder, config: Config) -> int:
    """As many as the encoder takes; T5, which knows no places, has no limit of its own."""
    part, _, _ = encoder.width.rpartition(".")
    places: int = (config[part] if part else config).get("max_position_embeddings", encoder.token_limit)
    return min(encoder.token_limit, places)


class _Tokenizer:
    """Stands for a tokenizer: as many ids as the encoder takes."""

    def __init__(self, length: int) -> None:
        self.model_max_length = length

    def __call__(self, captions: list[str], **_: object) -> SimpleNamespace:
        return SimpleNamespace(input_ids=torch.zeros(len(captions), self.model_max_length, dtype=torch.int64))


def _for_transformers(config: Config) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in ("architectures", "model_type")}
