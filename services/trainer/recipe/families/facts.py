"""What can be said of a family of base models without loading one. Each family's own file fills these in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Config = Mapping[str, Any]
"""The configuration of a component, as its ``config.json`` holds it."""

FormName = Literal["kohya", "diffusers"]


@dataclass(frozen=True, slots=True)
class Targets:
    """The layers that each group of target modules gives an adapter, by the endings of their names.

    Attributes:
        all: None for every linear layer and convolution.
        inside: only layers below these modules count; empty for the whole component.
        unused_end: a list of modules whose last one is left out by the family's conditioning, or in part.
        unused_layers: endings of those layers of that last module which do not count; by default none of it counts.
    """

    attention: tuple[str, ...]
    attention_ff: tuple[str, ...]
    all: tuple[str, ...] | None
    inside: tuple[str, ...] = ("",)
    unused_end: str = ""
    unused_layers: tuple[str, ...] = ("",)

    def select(self, layers: Iterable[str], group: str) -> list[str]:
        """Those of a component's linear layers and convolutions that the group names, in their own order."""
        endings: tuple[str, ...] | None = getattr(self, group)
        inside = self._trained([layer for layer in layers if layer.startswith(self.inside)])
        if endings is None:
            return inside
        return [layer for layer in inside if layer.endswith(tuple(f".{ending}" for ending in endings))]

    def _trained(self, layers: list[str]) -> list[str]:
        """Those that some answer depends on: a weight without a gradient would be exported as it was drawn."""
        if not self.unused_end:
            return layers
        number = re.compile(rf"(?:^|\.){re.escape(self.unused_end)}\.(\d+)\.")
        numbers = [int(found[1]) if (found := number.search(layer)) else -1 for layer in layers]
        last = max(numbers, default=-1)
        return [
            layer
            for layer, position in zip(layers, numbers, strict=True)
            if position < max(last, 0) or not layer.endswith(self.unused_layers)
        ]


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """A text encoder.

    Attributes:
        component, tokenizer: their names in a pipeline.
        class_name: its class in transformers.
        width: key of its configuration that holds the size of its answer; ``a.b`` for the key b of the part a.
        token_limit: tokens of a caption that the family's models were trained with; more are cut.
        targets: None for an encoder that stays frozen.
        layers: level above its layers in the names that readers know, which its own names may lack.
        chunks: a longer caption goes through the encoder in so many pieces at most, each with its own first and last
            token, whose answers are put one after the other, as A1111 and ComfyUI do; what is left is cut.
        wrap: what the encoder reads, with the caption in place of ``{}``.
        around: tokens of that which are not the caption's.
        masked: the tokens that pad a caption count for nothing, and reach neither encoder nor denoiser.
        padding_reaches_denoiser: the encoder's tokens look at none that pads a caption, but the denoiser was trained
            with an answer in every place.
        in_processor: its tokenizer is published as part of a processor of pictures, which cannot be built without
            torchvision; it is loaded alone.
        depth: layers after which the denoiser wants no more of it; 1 where it is told of the last or so.
    """

    component: str
    tokenizer: str
    class_name: str
    width: str
    token_limit: int
    targets: Targets | None
    layers: str = ""
    chunks: int = 1
    wrap: str = "{}"
    around: int = 2
    masked: bool = False
    padding_reaches_denoiser: bool = False
    in_processor: bool = False
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Denoiser:
    """What predicts the noise.

    Attributes:
        component: its name in a pipeline.
        class_name: its class in diffusers.
        multiple: sides of latents are multiples of it.
        channels_per_latent: its input channels for each channel of a latent, 4 where patches of two by two are packed.
        text_widths: key of its configuration to the text encoders whose widths add up to that number.
        answers_unpacked: its output channels are configured as those of a latent, whatever its input channels are.
        settings: other keys of its configuration and the only value that this family's training knows.
        other_inputs: input channels of published models that take more than noisy latents, and what these are.
        checkpoint_sizes: key of its configuration to the ending of a weight's name in single checkpoints whose second
            side is that number.
        original_name: a module's name in the original model's code, for its diffusers name and configuration.
        blocks: lists of modules that compute one after another, each told all that it needs, and hold most weights;
            empty where there are none such.
    """

    component: str
    class_name: str
    targets: Targets
    multiple: int
    text_widths: Mapping[str, tuple[str, ...]]
    channels_per_latent: int = 1
    answers_unpacked: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)
    other_inputs: Mapping[int, str] = field(default_factory=dict)
    checkpoint_sizes: Mapping[str, str] = field(default_factory=dict)
    original_name: Callable[[str, Config], str] | None = None
    blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """The published models' autoencoder. factor: pixels of a side per latent.

    A latent is (mean - shift) * scale, for all channels or, where scale is None, with statistics of each that are part
    of the weights or the configuration.
    """

    channels: int
    factor: int
    scale: float | None = None
    shift: float = 0.0
    class_name: str = "AutoencoderKL"


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture of a family, by the names that the readers of LoRA files go by.

    Attributes:
        name: ``modelspec.architecture`` without ``/lora``, which catalogues use too.
        base_version: ``ss_base_model_version`` of sd-scripts.
        v2: ``ss_v2``, by which A1111 tells Stable Diffusion 2.x from 1.x.
    """

    name: str
    base_version: str
    v2: bool = False


@dataclass(frozen=True, slots=True)
class FileForm:
    """A form in which an epoch's LoRA is exported.

    Attributes:
        ending: put between the file's name and ``.safetensors``.
        readers: tools to the adapters that each applies from this form at the trained strength, which
            tests/readers proves by the tools' own rules.
        prefixes: of a component's keys, in kohya form.
    """

    form: FormName
    ending: str
    readers: Mapping[str, tuple[str, ...]]
    prefixes: Mapping[str, str] = field(default_factory=dict)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Those that some reader of this form applies."""
        return tuple(dict.fromkeys(adapter for adapters in self.readers.values() for adapter in adapters))


@dataclass(frozen=True, slots=True)
class Published:
    """A published model as configurations, from which its costs are counted without weights.

    Attributes:
        side: pixels of the square that it was trained at.
        parts: configuration by component; what is left out is the library's default.
        repeated: how often equal blocks of the denoiser come, by the name in its configuration. Such a model is counted
            with few of them and with one more, which takes minutes instead of hours, and the difference so many times.
        mixture: the same by hand, where blocks are of several kinds: changes of the denoiser's configuration and how
            often such a model counts.
    """

    side: int
    parts: Mapping[str, Config]
    repeated: Mapping[str, int] = field(default_factory=dict)
    mixture: tuple[tuple[int, Config], ...] = ()


@dataclass(frozen=True, slots=True)
class FamilyFacts:
    """A family. The engine's file about it has the same name, with underscores for hyphens.

    Attributes:
        name: as catalogues and the API have it.
        title: as people call it.
        prediction_types: of a scheduler's configuration, that the engine can train; empty where none is configured.
        forms: files of an epoch.
        network_modules: ``ss_network_module`` of sd-scripts by adapter.
        hub_tags: by which people search a model hub.
        guidance_is_an_input: a preview with guidance costs one prediction a step, not two.
        published: models whose costs are counted, by the name that catalogues use.
        checkpoint_sign: pattern of a tensor's name that every single checkpoint of the family has; empty for none.
        other_kind: what a model is, by the configurations of its components, that looks like the family's and is not.
    """

    name: str
    title: str
    architectures: tuple[Architecture, ...]
    denoiser: Denoiser
    autoencoder: Autoencoder
    text_encoders: tuple[TextEncoder, ...]
    prediction_types: tuple[str, ...]
    forms: tuple[FileForm, ...]
    network_modules: Mapping[str, str]
    hub_tags: tuple[str, ...]
    published: Mapping[str, Published]
    guidance_is_an_input: bool = False
    checkpoint_sign: str = ""
    other_kind: Callable[[Mapping[str, Config]], str | None] | None = None

    @property
    def pixel_multiple(self) -> int:
        """Sides of a picture for the published models are multiples of it."""
        return self.autoencoder.factor * self.denoiser.multiple

    @property
    def caption_tokens(self) -> int:
        """Tokens of a caption that reach the published models, without those that stand around it."""
        return max((encoder.token_limit - encoder.around) * encoder.chunks for encoder in self.text_encoders)

    @property
    def text_stays_frozen(self) -> bool:
        """No text encoder may carry an adapter, so each caption is encoded once in a job and the encoders may go."""
        return all(encoder.targets is None for encoder in self.text_encoders)

    @property
    def adapters(self) -> frozenset[str]:
        """Adapters whose files some tool reads."""
        return frozenset(adapter for form in self.forms for adapter in form.adapters)

    @property
    def classes(self) -> dict[str, str]:
        """Class of each component that holds weights."""
        encoders = {encoder.component: encoder.class_name for encoder in self.text_encoders}
        denoiser = {self.denoiser.component: self.denoiser.class_name}
        return {**denoiser, **encoders, "vae": self.autoencoder.class_name}

    @property
    def required(self) -> tuple[str, ...]:
        """Components without which nothing can be trained."""
        return (*self.classes, *(encoder.tokenizer for encoder in self.text_encoders), "scheduler")

    def architecture(self, name: str) -> Architecture:
        """The architecture of that name; KeyError for a name that is none of this family's."""
        return {architecture.name: architecture for architecture in self.architectures}[name]

    def targets(self, component: str) -> Targets:
        """Target groups of a component that may carry an adapter; KeyError for another."""
        carriers = {encoder.component: encoder.targets for encoder in self.text_encoders if encoder.targets}
        return {self.denoiser.component: self.denoiser.targets, **carriers}[component]

    def diffusers_key(self, component: str, module: str) -> str:
        """A module's place in a file of diffusers form, with every level that its readers expect."""
        return f"{component}.{self._layers(component, module)}"

    def kohya_key(self, component: str, module: str, denoiser: Config) -> str:
        """The key, without its ending, under which kohya-style readers look for a module.

        The diffusers key where a family has no kohya form. ``denoiser``: its configuration.
        """
        prefixes = next((form.prefixes for form in self.forms if form.form == "kohya"), None)
        if prefixes is None:
            return self.diffusers_key(component, module)
        path = self._layers(component, module)
        if component == self.denoiser.component and self.denoiser.original_name is not None:
            path = self.denoiser.original_name(module, denoiser)
        return f"{prefixes[component]}_{path}".replace(".", "_")

    def _layers(self, component: str, module: str) -> str:
        level = {encoder.component: encoder.layers for encoder in self.text_encoders}.get(component, "")
        return module if module.startswith(level) else level + module
