"""Base models on this machine: which are known, an entry for one of them, and whether its weights are all there.

    python -m services.trainer.recipe.preflight known
    python -m services.trainer.recipe.preflight add CATALOGUE ID SOURCE
    python -m services.trainer.recipe.preflight check CATALOGUE ID

Prints one JSON document. Nothing is loaded: a file's header and size show whether its download was finished.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, BaseModel, InvalidCatalogue, load_catalogue

KNOWN = DEFAULT_CATALOGUE.with_name("base_models.example.toml")
_TABLE = re.compile(r'^\[base_models\.(?:"([^"]+)"|([a-z0-9-]+))(?:\.[a-z_]+)?\]$', re.MULTILINE)
_SOURCE = re.compile(r"^source = .*$", re.MULTILINE)
_PARTS = ("autoencoder", "denoiser", "text")
_PUBLISHED_BYTES = 2
"""A weight in 16 bits, as the larger models are published."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that an entry is ready for. size_bytes: of its weights in 16 bits, 0 when not counted."""

    id: str
    title: str
    family: str
    license: str
    resolution: int
    size_bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a training would fail on, and what to do."""

    problem: str
    remedy: str


class Refused(Exception):
    """What was asked cannot be done. kind: `not_found`, `exists` or `invalid`."""

    def __init__(self, kind: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.remedy = remedy


def known() -> list[KnownModel]:
    """The models of the example catalogue, smallest first."""
    entries = load_catalogue_text(KNOWN.read_text(encoding="utf-8").replace("\nenabled = false", ""))
    found = [
        KnownModel(
            model.id, model.title, model.family, model.license, model.resolution,
            _PUBLISHED_BYTES * sum(model.costs.weights[part] for part in _PARTS) if model.costs else 0,
            model.memory_mib * 2**20,
        )
        for model in entries.values()
    ]  # fmt: skip
    return sorted(found, key=lambda model: model.memory_bytes)


def load_catalogue_text(text: str) -> dict[str, BaseModel]:
    """Entries by id of a catalogue that is not a file yet. Raises InvalidCatalogue."""
    draft = DEFAULT_CATALOGUE.with_name(".draft")
    return load_catalogue(draft, text=text)


def add(catalogue: Path, identifier: str, source: str) -> BaseModel:
    """Writes the entry of a known model with the place of its weights; makes the catalogue when there is none.

    Raises Refused; the catalogue is as it was then.
    """
    blocks = _blocks(KNOWN.read_text(encoding="utf-8"))
    if identifier not in blocks:
        raise Refused("not_found", f"No model '{identifier}' is known", f"Known are {', '.join(blocks)}.")
    text = catalogue.read_text(encoding="utf-8") if catalogue.exists() else _first()
    if identifier in _blocks(text):
        raise Refused("exists", f"{catalogue} has an entry {identifier} already", "Edit it there.")
    place = source if source.startswith("hub:") else str(Path(source).expanduser().absolute())
    line = f"source = {json.dumps(place, ensure_ascii=False)}"
    entry = _SOURCE.sub(lambda _: line, blocks[identifier], count=1).replace("\nenabled = false", "")
    text = f"{text.rstrip()}\n\n{entry.strip()}\n"
    model = load_catalogue(catalogue, text=text)[identifier]
    if found := list(findings(model)):
        raise Refused("invalid", f"{identifier}: {found[0].problem}", found[0].remedy)
    catalogue.parent.mkdir(parents=True, exist_ok=True)
    partial = catalogue.with_name(catalogue.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, catalogue)
    return model


def findings(model: BaseModel) -> Iterator[Finding]:
    """What a worker on this machine would fail on; nothing for a hub id, whose files come when they are needed."""
    path = model.local_path
    if model.training_adapter is not None:
        yield from _training_adapter(Path(model.training_adapter))
    if path is None:
        return
    if path.is_dir():
        yield from _folder(path)
    elif not path.is_file():
        yield Finding(f"There is nothing at {path}", "Put the weights there, or correct `source` in the catalogue.")
    elif path.suffix != ".safetensors":
        yield Finding(f"{path.name} is no .safetensors file", "Convert it: pickled weights are never read.")
    else:
        yield from _weights(path)
        if model.config_source is None or not Path(model.config_source, "model_index.json").is_file():
            remedy = "Name a folder in diffusers layout as `config_source`: its configuration and tokenizers."
            yield Finding(f"The checkpoint {path.name} comes without a configuration", remedy)


def _training_adapter(path: Path) -> Iterator[Finding]:
    if path.suffix != ".safetensors" or not path.is_file():
        remedy = "Put the file there, or correct `training_adapter` in the catalogue."
        yield Finding(f"The training adapter is no .safetensors file at {path}", remedy)
    else:
        yield from _weights(path)


def _folder(folder: Path) -> Iterator[Finding]:
    index = _json(folder / "model_index.json")
    if index is None:
        yield Finding(f"{folder} has no readable model_index.json", "Name the folder of the whole model.")
        return
    for part, kind in index.items():
        # [library, class] for a component; [null, null] for one that the model does without.
        if part.startswith("_") or not isinstance(kind, list) or not all(kind):
            continue
        inside = folder / part
        if part in ("safety_checker", "feature_extractor", "image_encoder"):
            continue
        if not inside.is_dir():
            yield Finding(f"The component {part} is missing in {folder}", "Download the whole model again.")
        elif part.startswith("tokenizer"):
            if not any((inside / name).is_file() for name in ("vocab.json", "tokenizer.json", "spiece.model")):
                yield Finding(f"{part} has no vocabulary", "Download the whole model again.")
        elif not part.startswith("scheduler"):
            yield from _component(inside)


def _component(folder: Path) -> Iterator[Finding]:
    if _json(folder / "config.json") is None:
        yield Finding(f"{folder.name} has no readable config.json", "Download the whole model again.")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.ckpt"))
        remedy = "Convert it: pickled weights are never read." if pickled else "Download the whole model again."
        yield Finding(f"{folder.name} has no .safetensors weights", remedy)
    for file in files:
        yield from _weights(file)
    for index in folder.glob("*.safetensors.index*.json"):
        shards = set(((_json(index) or {}).get("weight_map") or {}).values())
        for missing in sorted(shard for shard in shards if not (folder / shard).is_file()):
            yield Finding(f"{folder.name} lacks {missing}", "Finish the download.")


def _weights(file: Path) -> Iterator[Finding]:
    """A safetensors file is whole when it ends where its header says that the last tensor ends."""
    broken = Finding(f"{file.parent.name}/{file.name} is cut off or damaged", "Download it again.")
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header: Any = json.loads(stream.read(length)) if length <= 100_000_000 else None
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        if file.stat().st_size != 8 + length + max(ends, default=0):
            yield broken
    except OSError as error:
        yield Finding(f"{file.name} cannot be read: {error.strerror}", "Check its permissions.")
    except (struct.error, ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError):
        yield broken


def _json(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _blocks(text: str) -> dict[str, str]:
    """The text of each entry by its id, its tables together."""
    places = list(_TABLE.finditer(text))
    found: dict[str, str] = {}
    for number, match in enumerate(places):
        end = places[number + 1].start() if number + 1 < len(places) else len(text)
        key = match[1] or match[2]
        found[key] = found.get(key, "") + text[match.start() : end]
    return found


def _first() -> str:
    """A catalogue of one's own begins with what the package offers, wherever the file lies."""
    text = DEFAULT_CATALOGUE.read_text(encoding="utf-8")
    folder = DEFAULT_CATALOGUE.parent
    return re.sub(r'^source = "(?!hub:|/)(.*)"$', lambda match: f'source = "{folder / match[1]}"', text, flags=re.M)


def _checked(catalogue: Path, identifier: str) -> dict[str, object]:
    models = load_catalogue(catalogue)
    if identifier not in models:
        raise Refused("not_found", f"{catalogue} has no base model {identifier}", f"It has {', '.join(models)}.")
    model = models[identifier]
    found = [asdict(finding) for finding in findings(model)]
    return {"id": identifier, "source": model.source, "hub": not model.local_path, "findings": found}


def answer(arguments: Sequence[str]) -> Mapping[str, object]:
    """The document that a command line asks for. Raises Refused, InvalidCatalogue, OSError."""
    match arguments:
        case ["known"]:
            return {"known": [asdict(model) for model in known()]}
        case ["add", catalogue, identifier, source]:
            return {"id": identifier, "source": add(Path(catalogue), identifier, source).source}
        case ["check", catalogue, identifier]:
            return _checked(Path(catalogue) if catalogue else DEFAULT_CATALOGUE, identifier)
    raise Refused("invalid", "Unknown arguments", __doc__)


def main(arguments: Sequence[str]) -> int:
    """Prints the answer, or `{"error": …}`."""
    try:
        document = answer(arguments)
    except Refused as error:
        document = {"error": {"kind": error.kind, "message": str(error), "remedy": error.remedy}}
    except (InvalidCatalogue, OSError) as error:
        remedy = "Correct the catalogue; base_models.example.toml explains every key."
        document = {"error": {"kind": "invalid", "message": str(error), "remedy": remedy}}
    print(json.dumps(document, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
