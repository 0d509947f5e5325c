"""Counts architectures and writes what the estimates are made of.

    python -m tools.model_costs                     every public architecture and our small base, into model_costs.json
    python -m tools.model_costs --only sdxl         one of them again
    python -m tools.model_costs --check sdxl        how far what is written of it is off the whole model, counted once
    python -m tools.model_costs --base-model ID --catalogue FILE --output costs.json
                                                    a base model of a deployment, from its folder; name the file in the
                                                    entry's key `costs`

An architecture takes some ten minutes of one core; no weights are needed and little memory.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy
from safetensors import safe_open

from services.trainer.engine.quiet import quiet_libraries
from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, REGULARIZATION_FILE, BaseModel, load_catalogue
from services.trainer.recipe.costs import COSTS_FILE, Counted
from services.trainer.recipe.parameters import DEFAULT_SPECS, TrainingParameters, resolve
from tools.model_costs import counting
from tools.model_costs.blueprints import BLUEPRINTS, Blueprint, blueprint_of_folder, build
from tools.model_costs.checking import ratios
from tools.model_costs.counting import Shape

PRESETS = ("attention", "attention_ff", "all")
PRECISIONS = {"full": "no", "half": "bf16"}
RANKS = (16, 48)
SIDES = (1.5, 1.0, 0.5)
"""Sides at which a count is taken, as shares of the model's own: three determine a polynomial of the area."""

BATCH = 4
"""Of most counts: with single pictures the peak of a small model is a buffer as large as a weight, not activations."""

SMALL_SIDE = 256
"""Models of a smaller side are trained in float32."""

Count = Callable[[Shape], Counted]


def count_model(blueprint: Blueprint, regularization_pictures: int = 0) -> Any:
    """One entry of ``model_costs.json``."""
    mixture = blueprint.mixture()
    entries = [_count_one(thin, regularization_pictures) for _, thin in mixture]
    return _short(_added(entries, [count for count, _ in mixture]))


def _added(entries: Sequence[Any], counts: Sequence[int]) -> Any:
    """The same entry with each number the sum of the others' so many times."""
    first = entries[0]
    if isinstance(first, dict):
        # A ratio does not add up; it is about the same however many blocks there are.
        return {
            name: entries[-1][name] if name in _KEPT else _added([entry[name] for entry in entries], counts)
            for name in first
        }
    if isinstance(first, list):
        return [_added(numbers, counts) for numbers in zip(*entries, strict=True)]
    total = sum(count * number for count, number in zip(counts, entries, strict=True))
    return round(total) if isinstance(first, int) else total


_KEPT = ("side", "guidance_is_an_input", "text_stays_frozen", "regularization_pictures", "predict_adapted")


def _short(value: Any) -> Any:
    """Six digits; in a list, what is nothing but the rounding of its solution becomes 0."""
    if isinstance(value, dict):
        return {name: _short(one) for name, one in value.items()}
    if not isinstance(value, list):
        return value
    largest = max(abs(number) for number in value)
    return [0.0 if abs(number) < 1e-8 * largest else float(f"{number:.6g}") for number in value]


def _count_one(blueprint: Blueprint, regularization_pictures: int) -> Any:
    make = partial(build, blueprint.short_of_text())
    base = resolve(DEFAULT_SPECS, {"train_text_encoder": False})
    entry: dict[str, Any] = {
        "side": blueprint.side,
        "guidance_is_an_input": blueprint.facts.guidance_is_an_input,
        "regularization_pictures": regularization_pictures,
        "text_stays_frozen": blueprint.facts.text_stays_frozen,
        "weights": counting.weight_counts(partial(build, blueprint)),
        "encode": _over_area(lambda shape: counting.count_encode(make, shape), blueprint.side),
        "decode": _over_area(lambda shape: counting.count_decode(make, shape), blueprint.side),
    }
    for name in ("trained", "train", "text_train", "predict", "predict_adapted", "adapters"):
        entry[name] = {}
    # The format that the model is trained in is counted whole, the other at one shape, and scaled.
    first, second = ("full", "half") if blueprint.side < SMALL_SIDE else ("half", "full")
    for half in (first, second):
        bare = partial(counting.count_predict, make, replace(base, mixed_precision=PRECISIONS[half]))
        whole = half == first
        entry["predict"][half] = _over_area(bare, blueprint.side) if whole else bare(Shape(blueprint.side, BATCH))
    _scale(entry["predict"], first, second, (1.0, BATCH, BATCH, BATCH))
    for preset in PRESETS:
        parameters = replace(base, target_modules=preset)
        entry["trained"][preset] = _trained(make, parameters)
        for name in ("train", "text_train", "predict_adapted"):
            entry[name][preset] = {}
        for form, checkpointing in (("plain", False), ("checkpointing", True)):
            counted: dict[str, Any] = {}
            for half in (first, second):
                chosen = replace(parameters, mixed_precision=PRECISIONS[half], gradient_checkpointing=checkpointing)
                counted[half] = (
                    _over_all(make, chosen, blueprint.side, entry)
                    if half == first
                    else counting.count_train(make, chosen, Shape(blueprint.side, BATCH, RANKS[0]))
                )
            _scale(counted, first, second, (1.0, BATCH, BATCH, BATCH, RANKS[0], RANKS[0] * BATCH))
            for half in (first, second):
                entry["train"][preset].setdefault(half, {})[form] = counted[half]
        chosen = replace(parameters, mixed_precision=PRECISIONS[first])
        if not blueprint.facts.text_stays_frozen:
            texts: dict[str, Any] = {first: _over_rank(make, chosen)}
            other = replace(parameters, mixed_precision=PRECISIONS[second])
            texts[second] = counting.count_text_train(make, other, Shape(0, 1, RANKS[0]))
            _scale(texts, first, second, (1.0, 1.0, 0.0, 0.0, RANKS[0], RANKS[0]))
            entry["text_train"][preset] = texts
        ratio = _adapted_ratio(make, chosen, blueprint.side)
        entry["predict_adapted"][preset] = {first: ratio, second: ratio}
        for adapter in ("dora", "loha", "lokr"):
            if adapter not in blueprint.facts.adapters:
                continue
            entry["adapters"].setdefault(adapter, {})[preset] = _difference(make, parameters, adapter, blueprint.side)
    return entry


def _over_area(count: Count, side: int) -> dict[str, list[float]]:
    """fixed, sample, area, square."""
    shapes = [*(Shape(int(side * share), BATCH) for share in SIDES), Shape(side, 2 * BATCH)]
    rows = [(1.0, s.batch, s.batch * _area(s, side), s.batch * _area(s, side) ** 2) for s in shapes]
    return _solved(rows, [count(shape) for shape in shapes])


def _over_all(make: Any, parameters: TrainingParameters, side: int, entry: Any) -> dict[str, list[float]]:
    """fixed, sample, area, square, rank, rank and area. Of rank alone there are only gradients, four bytes a weight."""
    low, high = RANKS
    count = cache(partial(counting.count_train, make, parameters))
    terms = _over_area(lambda shape: count(replace(shape, rank=low)), side)
    plain, more = count(Shape(side, BATCH, low)), count(Shape(side, BATCH, high))
    weights = entry["trained"][parameters.target_modules]["denoiser"]
    for name, values in terms.items():
        alone = 4.0 * weights if name == "peak" else 8.0 * weights if name == "moved" else 0.0
        both = (getattr(more, name) - getattr(plain, name)) / (high - low) - alone
        both /= BATCH
        values[0] -= low * alone
        values[2] -= low * both
        values += [alone, both]
    return terms


def _over_rank(make: Any, parameters: TrainingParameters) -> dict[str, list[float]]:
    """The same terms for text encoders, whose inputs have no area."""
    low, high = RANKS
    shapes = [Shape(0, 1, low), Shape(0, 2, low), Shape(0, 1, high), Shape(0, 2, high)]
    rows = [(1.0, s.batch, s.rank, s.rank * s.batch) for s in shapes]
    solved = _solved(rows, [counting.count_text_train(make, parameters, shape) for shape in shapes])
    return {name: [fixed, sample, 0.0, 0.0, rank, both] for name, (fixed, sample, rank, both) in solved.items()}


def _adapted_ratio(make: Any, parameters: TrainingParameters, side: int) -> list[float]:
    """FLOPs, bytes and kernels of a prediction with an adapter of rank 16, as multiples of the bare one's."""
    shape = Shape(side, 2, RANKS[0])
    bare = counting.count_predict(make, parameters, shape)
    adapted = counting.count_predict(make, parameters, shape, adapted=True)
    pairs = ((adapted.flops, bare.flops), (adapted.moved, bare.moved), (adapted.kernels, bare.kernels))
    return [round(mine / other, 4) for mine, other in pairs]


def _difference(make: Any, parameters: TrainingParameters, adapter: str, side: int) -> list[float]:
    """What a pass costs more than with LoRA: these forms build matrices as large as the weights that they change."""
    shape = Shape(side, 1, RANKS[0])
    plain = counting.count_train(make, parameters, shape)
    other = counting.count_train(make, replace(parameters, adapter=adapter), shape)
    return [
        other.flops - plain.flops, other.moved - plain.moved, other.kernels - plain.kernels, other.peak - plain.peak,
    ]  # fmt: skip


def _scale(counted: dict[str, Any], first: str, second: str, features: Sequence[float]) -> None:
    """Puts the terms of the first format in place of the second's one count, scaled to meet it."""
    one: Counted = counted[second]
    scaled = {}
    for name, terms in counted[first].items():
        value = sum(term * feature for term, feature in zip(terms, features, strict=True))
        ratio = getattr(one, name) / value if value > 0.0 else 1.0
        scaled[name] = [term * ratio for term in terms]
    counted[second] = scaled


def _trained(make: Any, parameters: TrainingParameters) -> dict[str, int]:
    """Weights of a LoRA of rank 1."""
    sizes = counting.adapter_size(make, replace(parameters, rank=1))
    denoiser = sizes.get("unet", 0) + sizes.get("transformer", 0)
    return {"denoiser": denoiser, "text": sum(sizes.values()) - denoiser}


def _solved(rows: Sequence[Sequence[float]], counts: Sequence[Counted]) -> dict[str, list[float]]:
    matrix = numpy.array(rows)
    return {
        name: [float(value) for value in numpy.linalg.solve(matrix, [getattr(one, name) for one in counts])]
        for name in ("flops", "moved", "kernels", "peak")
    }


def _area(shape: Shape, side: int) -> float:
    return (shape.side / side) ** 2


def _of_catalogue(model: BaseModel) -> Any:
    folder = Path(model.config_source or model.source)
    pictures = 0
    if (folder / REGULARIZATION_FILE).is_file():
        with safe_open(folder / REGULARIZATION_FILE, framework="numpy") as opened:
            pictures = opened.get_slice("pictures").get_shape()[0]
    return count_model(blueprint_of_folder(folder, model.family, model.resolution), pictures)


def main() -> None:
    """Read the command line, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="an architecture or fiveshot-tiny; may be repeated")
    parser.add_argument("--check", choices=BLUEPRINTS, help="an architecture; nothing is written")
    parser.add_argument("--base-model", help="id in a catalogue, instead of the public architectures")
    parser.add_argument("--catalogue", type=Path, default=DEFAULT_CATALOGUE)
    parser.add_argument("--output", type=Path, default=COSTS_FILE)
    given = parser.parse_args()
    quiet_libraries()
    if given.check:
        print(", ".join(f"{what} {ratio:.4f}" for what, ratio in ratios(given.check)))
        return
    if not COSTS_FILE.is_file():
        COSTS_FILE.write_text("{}\n", encoding="utf-8")
    written = json.loads(given.output.read_text("utf-8")) if given.output.is_file() else {}
    ours = load_catalogue(given.catalogue)
    names = [given.base_model] if given.base_model else given.only or ["fiveshot-tiny", *BLUEPRINTS]
    for name in names:
        print(f"counting {name}", flush=True)
        written[name] = count_model(BLUEPRINTS[name]) if name in BLUEPRINTS else _of_catalogue(ours[name])
        given.output.write_text(_text(written), encoding="utf-8")


def _text(document: Any) -> str:
    """JSON with a list of numbers on one line."""
    lines = json.dumps(document, indent=1, sort_keys=True)
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), lines) + "\n"


if __name__ == "__main__":
    main()
