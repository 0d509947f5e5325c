"""The trained weights: PEFT configurations, target presets, the running average of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, PeftConfig, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families.base import Family
from services.trainer.engine.noise import seeded_globally
from services.trainer.engine.precision import full_precision
from services.trainer.recipe.parameters import TrainingParameters

ADAPTER_NAME = "default"


def adapter_config(parameters: TrainingParameters, targets: list[str]) -> PeftConfig:
    """The PEFT configuration of an adapter over the named modules."""
    if parameters.adapter == "loha":
        return LoHaConfig(r=parameters.rank, alpha=parameters.alpha, target_modules=targets)
    if parameters.adapter == "lokr":
        return LoKrConfig(r=parameters.rank, alpha=parameters.alpha, target_modules=targets)
    return LoraConfig(
        r=parameters.rank,
        lora_alpha=parameters.alpha,
        target_modules=targets,
        use_rslora=parameters.adapter == "rslora",
        use_dora=parameters.adapter == "dora",
        init_lora_weights="gaussian",
    )


def add_adapters(family: Family, parameters: TrainingParameters) -> dict[str, nn.Module]:
    """Inject fresh adapters, in float32, and return the components that got one, the denoiser first.

    The initial weights depend on the seed only, so that a resumed run builds the same modules.

    Raises:
        EngineError: ADAPTER_UNSUPPORTED for an adapter whose files no tool would read for this family.
    """
    facts = family.facts
    if parameters.adapter not in facts.adapters:
        raise EngineError(
            "ADAPTER_UNSUPPORTED",
            f"No tool reads {parameters.adapter} files of the family {facts.name}.",
            f"Choose one of the adapters {', '.join(sorted(facts.adapters))}.",
        )
    names = list(family.components) if parameters.train_text_encoder else [facts.denoiser.component]
    carriers: dict[str, nn.Module] = {}
    for name in names:
        component: Any = family.components[name]
        with seeded_globally(parameters.seed, "adapter", name):
            component.add_adapter(adapter_config(parameters, family.targets(name, parameters.target_modules)))
        for weight in component.parameters():
            if weight.requires_grad:
                # PEFT puts them where the layer's own weights are, which may be the host.
                weight.data = weight.data.to(family.device, torch.float32)
        carriers[name] = component
    return carriers


def remove_adapters(carriers: Mapping[str, nn.Module]) -> None:
    """Give components back as ``add_adapters`` found them: each layer that PEFT has wrapped stands in its place."""
    for component in carriers.values():
        for name, layer in list(component.named_modules()):
            if isinstance(layer, BaseTunerLayer):
                component.set_submodule(name, layer.get_base_layer())
        # By these, diffusers and transformers know that a component carries adapters.
        for name in ("peft_config", "_hf_peft_config_loaded"):
            component.__dict__.pop(name, None)


@contextmanager
def adapters_off(layers: Sequence[Any]) -> Iterator[None]:
    """The base model's own answers. layers: those that PEFT has wrapped."""
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def wrapped_layers(components: Iterable[nn.Module]) -> list[Any]:
    """The layers of components that PEFT has wrapped."""
    return [layer for component in components for layer in component.modules() if isinstance(layer, BaseTunerLayer)]


def trained_weights(carriers: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """The weights that are trained by a stable name, in a stable order."""
    return {
        f"{component}.{name}": weight
        for component, module in carriers.items()
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }


def whole_change(layer: Any) -> Tensor:
    """What an adapter adds to its layer's weight, in float32 also where predictions are computed in fewer bits."""
    # Its own weights come last; the layer's may lie on the host.
    device = list(layer.parameters())[-1].device
    with full_precision(device):
        change: Tensor = layer.get_delta_weight(ADAPTER_NAME)
    return change.detach().float()


def adapter_state(module: nn.Module) -> dict[str, Tensor]:
    """A component's adapter in PEFT's own key names."""
    state: dict[str, Tensor] = get_peft_model_state_dict(module, adapter_name=ADAPTER_NAME)
    return state


class RunningAverage:
    """Exponential moving average of the trained weights (EMA); a decay of 0 makes it the weights themselves."""

    def __init__(self, weights: Mapping[str, nn.Parameter], decay: float) -> None:
        self._weights = weights
        self._decay = decay
        self.averages: dict[str, Tensor] = (
            {name: weight.detach().clone() for name, weight in weights.items()} if decay > 0.0 else {}
        )

    def update(self, step: int) -> None:
        """After optimizer step ``step`` (from 1). Early steps average less, or the start would dominate."""
        if not self.averages:
            return
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.averages.values()), [weight.detach() for weight in self._weights.values()], 1.0 - decay
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages inside the model, for previews, evaluation and export."""
        if not self.averages:
            yield
            return
        live = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._load(self.averages)
        try:
            yield
        finally:
            self._load(live)

    def _load(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(values[name])
