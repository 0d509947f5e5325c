"""The layers of a LoRA, whatever form its file has: which layer of which network, and the two matrices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from services.registry.models.names import DIFFUSERS, KOHYA
from services.registry.use_cases.forms import adapter_config, module_names
from services.registry.use_cases.forms.adapter_config import AdapterConfig
from services.registry.use_cases.forms.refusal import cannot
from services.registry.use_cases.forms.tensors import Tensor

UNET, TRANSFORMER, TEXT_ENCODER = "unet", "transformer", "text_encoder"
_KOHYA_PREFIXES = {
    "lora_unet_": UNET, "lora_transformer_": TRANSFORMER, "lora_te_": TEXT_ENCODER, "lora_te1_": TEXT_ENCODER,
    "lora_te2_": "text_encoder_2",
    # Of LyCORIS, which names no network; only transformers are known by it.
    "lycoris_": TRANSFORMER,
}  # fmt: skip
_KOHYA_PARTS = {"lora_down.weight": "down", "lora_up.weight": "up", "alpha": "alpha"}
_DIFFUSERS = re.compile(
    r"(?P<component>unet|transformer|text_encoder(?:_\d)?)\.(?P<module>.+?)"
    r"(?:\.processor\.(?P<old>to_\w+?)_lora|\.lora_linear_layer|\.lora)?"
    r"\.(?P<part>lora_A|lora_B|down|up|alpha)(?:\.weight)?"
)
_PEFT = re.compile(r"base_model\.model\.(?P<module>.+)\.(?P<part>lora_A|lora_B)(?:\.[^.]+)?\.weight")
_PARTS = {"lora_A": "down", "down": "down", "lora_B": "up", "up": "up", "alpha": "alpha"}
_OF_UNET = ("down_blocks.", "mid_block.", "up_blocks.", "conv_in", "conv_out", "time_embedding.", "add_embedding.")
_OF_TRANSFORMER = (
    "transformer_blocks.", "single_transformer_blocks.", "x_embedder", "context_embedder", "time_text_",
    *module_names.Z_IMAGE_BLOCKS,
)  # fmt: skip
_OF_TEXT = ("text_model.", "encoder.layers.")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's change: up times down, times alpha / rank.

    component: the network's name in a pipeline of diffusers. module: the layer's name in it. down: [rank, in, …], up:
    [out, rank, …].
    """

    component: str
    module: str
    down: Tensor
    up: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """Inner dimension of the two matrices."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """What the product is multiplied by."""
        return self.alpha / self.rank


def read(
    form: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], config: AdapterConfig
) -> tuple[Layer, ...]:
    """The layers of a file. config: of a file in PEFT form, which does not hold its own.

    Raises FailedPrecondition(FORM_NOT_POSSIBLE) for what is more than two matrices a layer, and for unknown layers.
    """
    if form == KOHYA:
        found = list(_kohya(tensors))
    elif form == DIFFUSERS:
        found = list(_dotted(tensors, _DIFFUSERS, metadata, None))
    else:
        found = list(_dotted(tensors, _PEFT, metadata, config))
    if not found:
        raise cannot("it has no layers")
    return tuple(found)


def _kohya(tensors: Mapping[str, Tensor]) -> Iterator[Layer]:
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, ending = key.partition(".")
        _only_low_rank(ending)
        if ending not in _KOHYA_PARTS:
            raise cannot(f"it holds '{key[:100]}', which is no part of a LoRA")
        layers.setdefault(name, {})[_KOHYA_PARTS[ending]] = tensor
    second = any(
        module_names.of_flux_2(name, parts["up"].shape[0], parts["down"].shape[1])
        for name, parts in layers.items()
        if min((len(parts[each].shape) if each in parts else 0) for each in ("up", "down")) > 1
    )
    for name, parts in layers.items():
        prefix = next((each for each in _KOHYA_PREFIXES if name.startswith(each)), None)
        if prefix is None:
            raise cannot(f"'{name[:100]}' is no layer of a known network")
        component, rest = _KOHYA_PREFIXES[prefix], name.removeprefix(prefix)
        flux = module_names.flux_modules(rest, second=second) if component == UNET else None
        if flux is not None:
            whole = _layer(TRANSFORMER, rest, parts, None)
            yield from _divided(whole, *flux)
        elif component == UNET and rest.startswith("transformer_blocks_"):
            # musubi-tuner's names of Qwen-Image; a UNet has such blocks within its own only.
            yield _layer(TRANSFORMER, module_names.dotted(rest), parts, None)
        elif component == UNET:
            yield _layer(component, module_names.unet_module(rest), parts, None)
        else:
            yield _layer(component, module_names.with_clip_level(module_names.dotted(rest)), parts, None)


def _divided(whole: Layer, modules: tuple[str, ...], with_rest: bool) -> Iterator[Layer]:
    """The layers that the original model joins into one, which share their first matrix."""
    if len(modules) == 1:
        yield replace(whole, module=modules[0])
        return
    rows, width = whole.up.shape[0], whole.down.shape[1]
    # The parts of the attention are as wide as what comes in.
    sizes = [width] * 3 + ([rows - 3 * width] if with_rest else [])
    if sum(sizes) != rows or min(sizes) < 1:
        raise cannot(f"'{whole.module[:100]}' has {rows} rows, which are not those of FLUX")
    start = 0
    for module, size in zip(modules, sizes, strict=True):
        yield replace(whole, module=module, up=whole.up.rows(start, start + size))
        start += size


def _dotted(
    tensors: Mapping[str, Tensor], pattern: re.Pattern[str], metadata: Mapping[str, str], config: AdapterConfig | None
) -> Iterator[Layer]:
    layers: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        _only_low_rank(key)
        found = pattern.fullmatch(key)
        if found is None:
            raise cannot(f"it holds '{key[:100]}', which is no part of a LoRA")
        names = found.groupdict()
        module = names["module"]
        if old := names.get("old"):
            module = f"{module}.{'to_out.0' if old == 'to_out' else old}"
        component = names.get("component") or _component(module)
        module = module.removeprefix(f"{component}.")
        if component.startswith(TEXT_ENCODER):
            module = module_names.with_clip_level(module)
        layers.setdefault((component, module), {})[_PARTS[names["part"]]] = tensor
    for (component, module), parts in layers.items():
        settings = config if config is not None else adapter_config.of_component(metadata, component)
        yield _layer(component, module, parts, settings)


def _layer(component: str, module: str, parts: Mapping[str, Tensor], config: AdapterConfig | None) -> Layer:
    down, up, alpha = parts.get("down"), parts.get("up"), parts.get("alpha")
    if down is None or up is None:
        raise cannot(f"'{module[:100]}' has one of its two matrices only")
    if min(len(down.shape), len(up.shape)) < 2 or down.shape[0] != up.shape[1] or down.shape[0] < 1:
        raise cannot(f"the two matrices of '{module[:100]}' do not fit together")
    rank = down.shape[0]
    if alpha is not None:
        if alpha.size_bytes == 0 or len(alpha.numbers().ravel()) != 1:
            raise cannot(f"the alpha of '{module[:100]}' is no number")
        return Layer(component, module, down, up, float(alpha.numbers().ravel()[0]))
    return Layer(component, module, down, up, config.alpha_of(module, rank) if config else float(rank))


def _component(module: str) -> str:
    """The network that a layer of PEFT form belongs to, which its name does not say."""
    for component in ("text_encoder_2", TEXT_ENCODER, UNET, TRANSFORMER):
        if module.startswith(f"{component}."):
            return component
    for component, starts in ((UNET, _OF_UNET), (TRANSFORMER, _OF_TRANSFORMER), (TEXT_ENCODER, _OF_TEXT)):
        if module.startswith(starts):
            return component
    raise cannot(f"'{module[:100]}' is no layer of a known network")


def _only_low_rank(key: str) -> None:
    for mark, what in (
        ("hada_", "it is a LoHa"), ("lokr_", "it is a LoKr"), ("lora_mid", "it divides convolutions in three"),
        ("dora_scale", "the scales of DoRA depend on the base model's weights"),
        ("lora_magnitude_vector", "the scales of DoRA depend on the base model's weights"),
    ):  # fmt: skip
        if mark in key:
            raise cannot(what)
