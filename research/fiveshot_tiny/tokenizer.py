"""A small CLIP tokenizer, trained here: byte-level BPE in which every word of `vocabulary` is one token.

The merges are learned by a plain implementation of byte-pair encoding (Sennrich et al. 2016) with ties broken by
name, because the trainer of the `tokenizers` library numbers the alphabet in hash order: its ids differ from process
to process, and ids are what the weights were trained on.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from research.fiveshot_tiny.vocabulary import single_token_words

START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"

Symbols = tuple[str, ...]


def learn_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """The merges that join each of `words` into one symbol, most frequent pair first, ties in alphabetical order."""
    pieces: dict[str, Symbols] = {w: (*w[:-1], w[-1] + END_OF_WORD) for w in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for symbols in pieces.values() for pair in itertools.pairwise(symbols))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {word: _merge(symbols, best) for word, symbols in pieces.items()}


def _merge(symbols: Symbols, pair: tuple[str, str]) -> Symbols:
    merged: list[str] = []
    i = 0
    while i < len(symbols):
        if symbols[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return tuple(merged)


def build_tokenizer(max_length: int) -> CLIPTokenizer:
    """The tokenizer of fiveshot-tiny; `max_length` counts the start and end tokens. The same on every machine."""
    merges = learn_merges(single_token_words())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary: dict[str, int] = {}
    for token in (START, END, *alphabet, *(a + END_OF_WORD for a in alphabet), *(a + b for a, b in merges)):
        vocabulary.setdefault(token, len(vocabulary))
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length)
