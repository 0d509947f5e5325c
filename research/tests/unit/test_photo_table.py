from __future__ import annotations

from pathlib import Path

import pytest

from research.photo_tagger.table import Class, WordNet, build

# Noun synsets as WordNet's data.noun writes them: offset, file, type, words (hexadecimal count), pointers, gloss.
DATA = """\
  1 This software and database is being provided to you
00000001 03 n 01 animal 0 000 | a living thing
00000002 05 n 02 domestic_dog 0 dog 0 001 @ 00000001 n 0000 | a dog
00000003 05 n 01 corgi 0 001 @ 00000002 n 0000 | a short one
00000004 05 n 02 wolf 0 lobo 0 001 @ 00000001 n 0000 | a wild one
00000005 06 n 01 cup 0 000 | a vessel
"""
CLASSES = [
    Class(0, "00000003", "Pembroke"), Class(1, "00000004", "timber wolf"), Class(2, "00000005", "cup"),
]  # fmt: skip
TABLE = """\
[nouns]
dog = "@domestic dog"
animal_ = "@animal"
mug = "cup"
[broader]
beast = "dog, animal_"
[kinds]
Pembroke = "corgi"
cup = ""
[common]
nouns = "mug"
weight = 2.5
[likeness]
toy = "mug"
of = "beast"
least_toy = 0.1
most_of = 0.7
"""


@pytest.fixture
def wordnet(tmp_path: Path) -> WordNet:
    path = tmp_path / "data.noun"
    path.write_text(DATA, encoding="ascii")
    return WordNet(path)


def table(tmp_path: Path, text: str = TABLE) -> Path:
    path = tmp_path / "nouns.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_class_counts_for_the_nearest_family_or_for_the_line_that_names_it(wordnet: WordNet, tmp_path: Path) -> None:
    built = build(CLASSES, wordnet, table(tmp_path))
    assert built["nouns"] == ["dog", "animal_", "mug"]
    assert built["kinds"] == ["corgi", "timber wolf", ""]
    assert built["broader"] == {"animal_": "beast", "dog": "beast"}
    assert built["weights"] == [1.0, 1.0, 2.5]


def test_the_chain_starts_with_the_synset_itself(wordnet: WordNet) -> None:
    assert list(wordnet.chain("00000003")) == [(0, "corgi"), (1, "domestic dog"), (1, "dog"), (2, "animal")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('mug = "cup"', 'mug = "cupp"'),
        ('mug = "cup"', 'mug = "cup"\nglass = "cup"'),
        ('mug = "cup"', 'mug = "cup"\nnothing = "@lamp"'),
        ('nouns = "mug"', 'nouns = "mugg"'),
        ('cup = ""', 'cap = ""'),
        ('beast = "dog, animal_"', 'beast = "dog, cat"'),
    ],
)
def test_a_line_that_fits_no_class_is_refused(wordnet: WordNet, tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(ValueError, match=r"no class|is claimed"):
        build(CLASSES, wordnet, table(tmp_path, TABLE.replace(old, new)))
