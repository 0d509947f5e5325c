"""Text conditioning of a batch: computed once per caption while the text encoder is frozen, else at every step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch

from services.trainer.engine.families.base import Conditioning, Family

REMEMBERED_CAPTIONS = 4096
"""Shuffled captions have more variants than any memory; the least recently used are encoded again."""


class TextConditioner:
    """Conditioning by caption, resident on the family's device."""

    def __init__(self, family: Family, *, trained: bool, limit: int = REMEMBERED_CAPTIONS) -> None:
        """``trained``: a text encoder carries an adapter, so every step needs fresh embeddings with gradients."""
        self._family = family
        self._trained = trained
        self._limit = limit
        self._remembered: OrderedDict[str, Conditioning] = OrderedDict()

    def __call__(self, captions: Sequence[str]) -> Conditioning:
        """Conditioning of each caption in order; a caption that occurs twice is encoded once."""
        unique = list(dict.fromkeys(captions))
        index = torch.tensor([unique.index(caption) for caption in captions], device=self._family.device)
        encoded = self._family.encode_text(unique) if self._trained else self._recalled(unique)
        return {name: tensor.index_select(0, index) for name, tensor in encoded.items()}

    def remember(self, captions: Sequence[str]) -> None:
        """Encode captions ahead of the first step."""
        if not self._trained:
            self._recalled(list(dict.fromkeys(captions))[: self._limit])

    def _recalled(self, captions: list[str]) -> Conditioning:
        missing = [caption for caption in captions if caption not in self._remembered]
        fresh: Conditioning = {}
        if missing:
            with torch.no_grad():
                fresh = self._family.encode_text(missing)
        rows = []
        for caption in captions:
            if caption in self._remembered:
                self._remembered.move_to_end(caption)
            else:
                place = missing.index(caption)
                self._remembered[caption] = {name: tensor[place].clone() for name, tensor in fresh.items()}
            rows.append(self._remembered[caption])
        while len(self._remembered) > self._limit:
            self._remembered.popitem(last=False)
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
