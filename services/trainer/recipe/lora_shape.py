"""What a LoRA file is, read from the names in its header: which adapter, how large, over which layers of a family.

Pure and without a base model at hand: the names say which group of layers a file belongs to, and the engine, which has
the layers, refuses what does not fit them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

from services.trainer.recipe.families.facts import FamilyFacts, Targets
from services.trainer.recipe.parameter_spec import InvalidParameter
from services.trainer.recipe.parameters import TrainingParameters

KOHYA, DIFFUSERS = "kohya", "diffusers"
_GROUPS = ("attention", "attention_ff", "all")
_OTHER_FORMS = {"dora_scale": "dora", "lora_magnitude_vector": "dora", "hada_": "loha", "lokr_": "lokr"}
_MAY_BECOME = {
    "lora": ("lora", "rslora", "dora"),
    "rslora": ("lora", "rslora", "dora"),
    "dora": ("dora",),
    "loha": ("loha",),
    "lokr": ("lokr",),
}
"""Adapters that can begin with the effect of another."""


@dataclass(frozen=True, slots=True)
class LoraHeader:
    """Names of a file's tensors, and its metadata."""

    tensors: tuple[str, ...]
    metadata: Mapping[str, str]

    @property
    def adapter(self) -> str:
        """Its kind, by its tensors."""
        return next((kind for mark, kind in _OTHER_FORMS.items() if any(mark in name for name in self.tensors)), "lora")

    @property
    def is_spelt_as_peft_does(self) -> bool:
        """Whether its matrices have the names of today, which the engine reads, in a file of diffusers' form."""
        marks = (".lora_A.", ".lora_B.", ".lora_magnitude_vector")
        return all(any(mark in name for mark in marks) for name in self.tensors)


@dataclass(frozen=True, slots=True)
class LoraShape:
    """What a job takes over from an earlier LoRA, unless it says something else; names as the parameters have them.

    rank: 0 for a LoKr whose file does not tell; the engine, which has its matrices, then judges.
    """

    adapter: str
    rank: int
    alpha: float
    target_modules: str
    train_text_encoder: bool

    def over(self, given: Mapping[str, object]) -> dict[str, object]:
        """The given parameters over these."""
        unknown = ("rank", "alpha") if not self.rank else ()
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in unknown}
        return {**own, **given}

    def faults(self, parameters: TrainingParameters) -> Iterator[InvalidParameter]:
        """Parameters with which something of the LoRA would be lost."""
        kept = _MAY_BECOME.get(self.adapter, (self.adapter,))
        if parameters.adapter not in kept:
            yield InvalidParameter("adapter", f"must be {' or '.join(kept)} to go on from a {self.adapter}")
        elif self.rank and self.adapter in ("loha", "lokr") and parameters.rank != self.rank:
            yield InvalidParameter("rank", f"must be {self.rank}, the earlier LoRA's, whose {self.adapter} cannot grow")
        elif parameters.rank < self.rank:
            yield InvalidParameter("rank", f"must be at least {self.rank}, the earlier LoRA's, got {parameters.rank}")
        if _GROUPS.index(parameters.target_modules) < _GROUPS.index(self.target_modules):
            named = " or ".join(_GROUPS[_GROUPS.index(self.target_modules) :])
            yield InvalidParameter("target_modules", f"must be {named}, which hold the earlier LoRA's layers")
        if self.train_text_encoder and not parameters.train_text_encoder:
            yield InvalidParameter("train_text_encoder", "must be on: the earlier LoRA changes the text encoder")


def shape_of(header: LoraHeader, family: FamilyFacts, *, rank: int, alpha: float) -> LoraShape:
    """The shape of a file of our names. rank, alpha: as the registry knows them.

    Raises:
        ValueError: with words for the user, when the file changes what this family never trains.
    """
    layers = frozenset(_layers(header, family))
    carriers = {encoder.component for encoder in family.text_encoders if encoder.targets}
    components = {component for component, _ in layers}
    denoiser = family.denoiser.component
    if strangers := components - carriers - {denoiser}:
        raise ValueError(f"it changes the {min(strangers)}, which stays as it is in {family.title}")
    if denoiser not in components:
        raise ValueError(f"it holds no layer of the {denoiser}")
    said = _said(header.metadata)
    # The tensors say the kind; only how a plain LoRA was scaled is not in them.
    adapter = "rslora" if header.adapter == "lora" and said.get("algo") == "rslora" else header.adapter
    group = said.get("target_modules", "")
    return LoraShape(
        adapter=adapter,
        rank=rank,
        alpha=alpha or float(rank),
        target_modules=group if group in _GROUPS else _group(layers, family),
        train_text_encoder=bool(components & carriers),
    )


def _layers(header: LoraHeader, family: FamilyFacts) -> Iterator[tuple[str, str]]:
    """Component and layer of each tensor; the layer's name with underscores, as kohya's form has it."""
    prefixes = next((form.prefixes for form in family.forms if form.form == KOHYA), {})
    by_length = sorted(prefixes.items(), key=lambda entry: -len(entry[1]))
    for name in header.tensors:
        stem, _, rest = name.partition(".")
        kohya = next((item for item in by_length if stem.startswith(f"{item[1]}_")), None)
        if kohya is not None:
            yield kohya[0], stem.removeprefix(f"{kohya[1]}_")
            continue
        path = rest
        for mark in (".lora_", ".hada_", ".lokr_"):
            path = path.partition(mark)[0]
        yield stem, path.replace(".", "_")


def _group(layers: Iterable[tuple[str, str]], family: FamilyFacts) -> str:
    """The smallest group of layers that holds all of a file's."""
    return next(
        group
        for group in _GROUPS
        if all(_belongs(layer, family.targets(component), group) for component, layer in layers)
    )


def _belongs(layer: str, targets: Targets, group: str) -> bool:
    endings: tuple[str, ...] | None = getattr(targets, group)
    if endings is None or group == _GROUPS[-1]:
        return True
    return layer.endswith(tuple(f"_{ending.replace('.', '_')}" for ending in endings))


def _said(metadata: Mapping[str, str]) -> dict[str, str]:
    """What our own files say of how they were trained."""
    try:
        said = json.loads(metadata.get("ss_network_args", "{}"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {name: said[name] for name in ("algo", "target_modules") if isinstance(said.get(name), str)}
