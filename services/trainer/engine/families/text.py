"""Token ids of captions, remembered: the same few captions come at every step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

REMEMBERED = 4096


class TokenIds:
    """Padded token ids by caption."""

    def __init__(self, tokenizer: Any, length: int) -> None:
        """``length``: tokens that the text encoder takes; longer captions are cut."""
        self._tokenizer = tokenizer
        self.length = length
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Token ids, int64 [B, length], on the CPU."""
        return torch.cat([self._of(caption) for caption in captions])

    def _of(self, caption: str) -> Tensor:
        if caption not in self._known:
            encoded = self._tokenizer(
                [caption], padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
            )
            self._known[caption] = encoded.input_ids
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return self._known[caption]
