"""nouns.toml and WordNet together as the table that the tagger ships: for each class its noun and its kind.

WordNet 3.0 as Debian's `wordnet-base` installs it (`data.noun`); the synset ids of ImageNet are its noun offsets.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("nouns.toml")


@dataclass(frozen=True)
class Class:
    """A class of ImageNet. synset: offset in WordNet, eight digits. name: its first lemma as ImageNet writes it."""

    index: int
    synset: str
    name: str


def read_classes(folder: Path) -> list[Class]:
    """The 1,000 classes in the network's order, from timm's imagenet_synsets.txt and imagenet_synset_to_lemma.txt."""
    ids = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    lines = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    lemmas = dict(line.split("\t", 1) for line in lines)
    return [Class(index, synset[1:], lemmas[synset].split(",")[0].strip()) for index, synset in enumerate(ids)]


class WordNet:
    """The nouns of WordNet: words of a synset, and the synsets above it."""

    def __init__(self, data_noun: Path) -> None:
        self._words: dict[str, tuple[str, ...]] = {}
        self._above: dict[str, tuple[str, ...]] = {}
        for line in data_noun.read_text(encoding="ascii").splitlines():
            if line.startswith(" "):
                continue
            fields = line.partition(" | ")[0].split()
            count = int(fields[3], 16)
            self._words[fields[0]] = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
            pointers = re.findall(r"@ (\d{8}) n", line.partition(" | ")[0])
            self._above[fields[0]] = tuple(pointers)

    def chain(self, synset: str) -> Iterator[tuple[int, str]]:
        """Distance and each word of every synset at and above this one, the nearest first."""
        level, seen, distance = [synset], {synset}, 0
        while level:
            for each in level:
                yield from ((distance, word) for word in self._words[each])
            level = [above for each in level for above in self._above[each] if above not in seen]
            seen.update(level)
            distance += 1


def build(classes: list[Class], wordnet: WordNet, table: Path = TABLE) -> dict[str, Any]:
    """The shipped table. Raises ValueError for a line that names no class, or a class that two lines claim."""
    given = tomllib.loads(table.read_text(encoding="utf-8"))
    named, families = _claims(given["nouns"], classes)
    nouns = [named.get(each.index) or _nearest(each, wordnet, families) for each in classes]
    kinds = [_kind(each, noun, given["kinds"]) for each, noun in zip(classes, nouns, strict=True)]
    idle = sorted(set(given["nouns"]) - set(nouns))
    unknown = sorted(set(given["kinds"]) - {each.name for each in classes})
    broader = {noun: broad for broad, line in given["broader"].items() for noun in _items(line)}
    strangers = sorted(set(broader) - set(nouns) - set(given["broader"]))
    common = set(_items(given["common"]["nouns"]))
    if idle or unknown or strangers or common - set(nouns):
        raise ValueError(f"no class: {idle}, {unknown}, {strangers}, {sorted(common - set(nouns))}")
    return {
        "nouns": [noun or "" for noun in nouns],
        "kinds": kinds,
        "broader": dict(sorted(broader.items())),
        "weights": [given["common"]["weight"] if noun in common else 1.0 for noun in nouns],
        "likeness": given["likeness"],
    }


def write(built: dict[str, Any], path: Path) -> None:
    """As JSON, a line for each entry."""
    path.write_text(json.dumps(built, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def _claims(lines: dict[str, str], classes: list[Class]) -> tuple[dict[int, str], dict[str, str]]:
    by_name: dict[str, list[int]] = {}
    for each in classes:
        by_name.setdefault(each.name, []).append(each.index)
    named: dict[int, str] = {}
    families: dict[str, str] = {}
    for noun, line in lines.items():
        for item in _items(line):
            if item.startswith("@"):
                families[item[1:]] = noun
                continue
            if item not in by_name:
                raise ValueError(f"{noun}: ImageNet has no class {item!r}")
            for index in by_name[item]:
                if index in named:
                    raise ValueError(f"{item!r} is claimed by {named[index]} and {noun}")
                named[index] = noun
    return named, families


def _nearest(each: Class, wordnet: WordNet, families: dict[str, str]) -> str | None:
    return next((families[word] for _, word in wordnet.chain(each.synset) if word in families), None)


def _kind(each: Class, noun: str | None, kinds: dict[str, str]) -> str:
    """What the class is called beside its noun: nothing where it is silent or says no more than the noun."""
    kind = kinds.get(each.name, each.name) if noun else ""
    return "" if kind == noun else kind


def _items(line: str) -> list[str]:
    return [item.strip() for item in line.split(",")]
