"""A loaded base model; the train loop, previews, export and evaluation know nothing else of it.

A family's own file adds what needs torch: conditioning, prediction and sampling. What can be said without torch is in
``recipe/families``. Pixels are float32 [B, 3, H, W] in -1..1, latents [B, C, h, w] are scaled as the denoiser expects
them, text conditioning is a dict of tensors with the batch first.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor, nn

from services.trainer.engine.families import autoencoder
from services.trainer.engine.families.autoencoder import Posterior
from services.trainer.engine.families.loading import load_pipeline
from services.trainer.engine.families.text import LENGTHS, MASK, RememberedTexts, TokenIds
from services.trainer.engine.families.training_adapter import TrainingAdapter, add_training_adapter
from services.trainer.engine.job import BaseModelFiles
from services.trainer.engine.precision import checkpointed, on_device
from services.trainer.engine.quantization import place_denoiser, quantize_layers
from services.trainer.engine.schedules import NoiseSchedule
from services.trainer.engine.streaming import BlockStream, blocks_of
from services.trainer.recipe.families.facts import FamilyFacts

Conditioning = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """Pictures to sample in one batch; ``prompts`` and ``seeds`` have one entry a picture."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float


class Family(ABC):
    """One loaded base model.

    Life cycle: built by ``families.load_family``; its weights are frozen and on ``device``; adapters are injected into
    ``components`` by ``lora.add_adapters``; nothing needs closing.

    Attributes:
        pipeline_class: of diffusers.
        pipeline_options: arguments that the pipeline takes beside its components.
        layout: of the denoiser's weights and inputs.
        recordable: a step of the denoiser does the same operations whatever the texts are, so that it may be recorded
            and compiled.
        schedule: noise levels that the model was trained with.
        latent_channels: of a latent.
        latent_factor: pixels of a picture's side per latent.
        pixel_multiple: sides of a picture must be multiples of it.
        training_adapter: what undoes a distillation while the model is trained.
        stream: of the blocks that do not stay on the device; None where all do.
    """

    facts: ClassVar[FamilyFacts]
    pipeline_class: ClassVar[Any]
    pipeline_options: ClassVar[Mapping[str, Any]] = {}
    layout: torch.memory_format = torch.preserve_format
    recordable: ClassVar[bool] = True
    schedule: NoiseSchedule
    stream: BlockStream | None = None

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        """Take a loaded pipeline over: freeze it and move it to ``device``; the autoencoder stays in float32."""
        facts = self.facts
        self.device = device
        self._scheduler = pipeline.scheduler
        self._vae = pipeline.vae.to(device).requires_grad_(False).eval()
        denoiser = getattr(pipeline, facts.denoiser.component)
        blocks = facts.denoiser.targets.select(layer_names(denoiser), "all")
        denoiser = place_denoiser(denoiser, blocks, device, dtype, quantization, self.layout)
        self._modules: dict[str, Any] = {facts.denoiser.component: denoiser}
        self._tokenizers: dict[str, Any] = {}
        self._token_ids: dict[str, TokenIds] = {}
        for encoder in facts.text_encoders:
            module = getattr(pipeline, encoder.component).to(device, dtype).requires_grad_(False).eval()
            tokenizer = getattr(pipeline, encoder.tokenizer)
            self._modules[encoder.component] = module
            self._tokenizers[encoder.tokenizer] = tokenizer
            length = min(encoder.token_limit, tokenizer.model_max_length)
            # A model with a smaller window than the published ones has no tools that would chunk for it.
            most = encoder.chunks if length == encoder.token_limit else 1
            self._token_ids[encoder.component] = TokenIds(tokenizer, length, most, encoder.wrap)
            if encoder.masked:
                # As the published models pad; a pipeline over the same tokenizer agrees.
                tokenizer.padding_side = "right"
        self._texts = RememberedTexts(self._encode_one)
        self._text_released = False
        self.training_adapter = TrainingAdapter()
        self.latent_channels = autoencoder.latent_channels(self._vae)
        self.latent_factor = autoencoder.latent_factor(self._vae)
        self.pixel_multiple = self.latent_factor * self.latent_multiple()

    @classmethod
    def load(
        cls, files: BaseModelFiles, device: torch.device, dtype: torch.dtype, quantization: str, streamed: int = 0
    ) -> Self:
        """Load from a folder, a single checkpoint or a hub id; see ``loading.load_pipeline`` for the errors.

        streamed: blocks of the denoiser that come to the device for their turn only.
        """
        pipeline = load_pipeline(cls.pipeline_class, cls.facts, files, dtype, **cls.pipeline_options)
        stream = None
        if streamed:
            lists = cls.facts.denoiser.blocks
            assert lists, "blocks that cannot be streamed"
            denoiser = getattr(pipeline, cls.facts.denoiser.component)
            names = cls.facts.denoiser.targets.select(layer_names(denoiser), "all") if quantization != "none" else []

            def quantize(block: nn.Module) -> None:
                quantize_layers(denoiser, names, block, device, dtype, quantization)

            stream = BlockStream(blocks_of(denoiser, lists), streamed, device, dtype, quantize)
        family = cls(pipeline, device, dtype, quantization)
        family.stream = stream
        family.training_adapter = add_training_adapter(family.denoiser, files, device, dtype)
        return family

    @property
    def denoiser(self) -> Any:
        """The component that predicts the noise."""
        return self._modules[self.facts.denoiser.component]

    @property
    def components(self) -> Mapping[str, nn.Module]:
        """What may carry an adapter, by the name it has in a diffusers LoRA file; the denoiser first."""
        frozen = {encoder.component for encoder in self.facts.text_encoders if encoder.targets is None}
        return {name: module for name, module in self._modules.items() if name not in frozen}

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """All networks of the base model."""
        return (*self._modules.values(), self._vae)

    @abstractmethod
    def latent_multiple(self) -> int:
        """Sides of latents must be multiples of it, by the denoiser's configuration."""

    @abstractmethod
    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        """Text conditioning of token ids; with gradients when a text encoder carries an adapter.

        Never waits for the device, so that a step with a trained text encoder can be recorded.
        """

    @abstractmethod
    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's answer, of the shape of ``noisy``."""

    @abstractmethod
    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        """Scaled latents sampled with the family's fast solver; ``on_step`` gets the solver's step, from 1."""

    @abstractmethod
    def solver(self) -> Any:
        """A fresh scheduler for sampling."""

    def encode_pixels(self, pixels: Tensor) -> Posterior:
        """The scaled posterior of pictures."""
        return autoencoder.encode_pixels(self._vae, pixels)

    def decode_pixels(self, latents: Tensor) -> Tensor:
        """Pixels of scaled latents."""
        return autoencoder.decode_pixels(self._vae, latents)

    def decode_latents(self, latents: Tensor) -> list[Image.Image]:
        """RGB pictures of scaled latents."""
        return autoencoder.decode_latents(self._vae, latents)

    def use_long_texts(self, texts: Iterable[str]) -> None:
        """Encode every text in as many chunks as the longest of these needs, where the family's encoders can."""
        found = list(dict.fromkeys(texts))
        most = max((ids.chunks_of(text) for ids in self._token_ids.values() for text in found), default=1)
        for ids in self._token_ids.values():
            ids.use_chunks(min(most, ids.most_chunks))

    def token_ids(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Padded token ids of each caption by text encoder, int64 [B, length] or [B, chunks, length] on the device."""
        tokens = {name: on_device(ids_of(captions), self.device) for name, ids_of in self._token_ids.items()}
        for encoder in self.facts.text_encoders:
            if encoder.masked:
                lengths = self._token_ids[encoder.component].lengths(captions)
                tokens |= {} if lengths is None else {f"{encoder.component}.{LENGTHS}": lengths}
            elif encoder.padding_reaches_denoiser:
                mask = self._token_ids[encoder.component].mask(captions)
                tokens |= {} if mask is None else {f"{encoder.component}.{MASK}": on_device(mask, self.device)}
        return tokens

    def encode_text(self, captions: Sequence[str]) -> Conditioning:
        """Text conditioning of each caption; remembered where no text encoder is ever trained."""
        if self.facts.text_stays_frozen:
            return self._texts(captions)
        return self.encode_tokens(self.token_ids(captions))

    def release_text(self, captions: Iterable[str], *, stay: bool) -> None:
        """Encode these, then take the text encoders off an accelerator where they are never trained.

        A caption that comes later brings them back for as long as it takes. ``stay``: there will be so many that the
        encoders are kept where they are.
        """
        if not self.facts.text_stays_frozen:
            return
        self._text_released = False
        self._place_text(self.device)
        for caption in dict.fromkeys(captions):
            self.encode_text([caption])
        self._text_released = not stay and self.device.type != "cpu"
        if self._text_released:
            self._place_text(torch.device("cpu"))

    def _encode_one(self, caption: str) -> Conditioning:
        if not self._text_released:
            return self.encode_tokens(self.token_ids([caption]))
        self._place_text(self.device)
        try:
            return self.encode_tokens(self.token_ids([caption]))
        finally:
            self._place_text(torch.device("cpu"))

    def _place_text(self, device: torch.device) -> None:
        for encoder in self.facts.text_encoders:
            self._modules[encoder.component].to(device)

    def targets(self, component: str, group: str) -> list[str]:
        """Names of the modules of a component that ``attention``, ``attention_ff`` or ``all`` gives an adapter."""
        return self.facts.targets(component).select(layer_names(self._modules[component]), group)

    def kohya_name(self, component: str, module: str) -> str:
        """The key, without its ending, under which kohya-style readers look for a module's LoRA."""
        return self.facts.kohya_key(component, module, self.denoiser.config)

    def pipeline(self, **replaced: nn.Module) -> Any:
        """A diffusers pipeline over the live modules, some replaced; sharing weights, so it costs no memory."""
        parts = {**self._modules, "vae": self._vae, **self._tokenizers, **replaced}
        return self.pipeline_class(**parts, scheduler=self.solver(), **self.pipeline_options, **self.own_options())

    def own_options(self) -> Mapping[str, Any]:
        """Arguments of the pipeline that this model, not its family, has."""
        return {}

    def with_components(self, components: Mapping[str, nn.Module]) -> Self:
        """A shallow copy of the family in which some components are others."""
        twin = copy.copy(self)
        twin._modules = {**self._modules, **components}
        return twin

    def use_contiguous_layout(self) -> None:
        """Give channels-last up, which convolutions are faster with; for measurements."""
        if self.layout is torch.channels_last:
            self.layout = torch.contiguous_format
            self.denoiser.to(memory_format=self.layout)

    def enable_gradient_checkpointing(self) -> None:
        """Trade time for memory in the denoiser's backward pass."""
        self.denoiser.enable_gradient_checkpointing(checkpointed)

    def _sampled(
        self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None], **arguments: Any
    ) -> Tensor:
        """What the pipeline samples: all pictures in one batch, each with its own seed."""

        def report(_: Any, step: int, __: Any, state: dict[str, Any]) -> dict[str, Any]:
            on_step(step + 1)
            return state

        pipeline.set_progress_bar_config(disable=True)
        with self.training_adapter.left_out():
            latents: Tensor = pipeline(
                num_inference_steps=request.steps,
                width=request.width,
                height=request.height,
                # The generators live on the CPU so that a preview's starting noise is the same on every device.
                generator=[torch.Generator().manual_seed(seed) for seed in request.seeds],
                output_type="latent",
                callback_on_step_end=report,
                **{"guidance_scale": request.guidance, **arguments},
            ).images
        return latents


def layer_names(module: nn.Module) -> list[str]:
    """Names of a component's linear layers and convolutions, in its own order; quantised ones count too."""
    return [name for name, layer in module.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
