"""Token ids of captions, remembered: the same few captions come at every step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

REMEMBERED = 4096


class TokenIds:
    """Padded token ids by caption.

    Attributes:
        length: tokens that the text encoder takes at once.
        chunks: pieces in which captions go through it, 1 to ``most_chunks``; what is left of a longer one is cut.
    """

    def __init__(self, tokenizer: Any, length: int, most_chunks: int = 1) -> None:
        self._tokenizer = tokenizer
        self.length = length
        self.most_chunks = most_chunks
        self.chunks = 1
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Token ids on the CPU, int64 [B, length], or [B, chunks, length] of more than one chunk."""
        return torch.cat([self._of(caption) for caption in captions])

    def chunks_of(self, caption: str) -> int:
        """Chunks that hold the whole caption, at most ``most_chunks``."""
        if self.most_chunks == 1:
            return 1
        return min(self.most_chunks, max(1, -(-len(self._words(caption)) // (self.length - 2))))

    def use_chunks(self, chunks: int) -> None:
        """Every caption in so many chunks from now on, since those of a batch must be alike."""
        if chunks != self.chunks:
            self.chunks = chunks
            self._known.clear()

    def _of(self, caption: str) -> Tensor:
        if caption not in self._known:
            self._known[caption] = self._whole(caption) if self.chunks == 1 else self._in_chunks(caption)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return self._known[caption]

    def _whole(self, caption: str) -> Tensor:
        encoded = self._tokenizer(
            [caption], padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        ids: Tensor = encoded.input_ids
        return ids

    def _in_chunks(self, caption: str) -> Tensor:
        words, room = self._words(caption), self.length - 2
        first, last, padding = (
            self._tokenizer.bos_token_id, self._tokenizer.eos_token_id, self._tokenizer.pad_token_id,
        )  # fmt: skip
        rows = []
        for start in range(0, self.chunks * room, room):
            row = [first, *words[start : start + room], last]
            rows.append(row + [padding] * (self.length - len(row)))
        return torch.tensor([rows])

    def _words(self, caption: str) -> list[int]:
        """All tokens of a caption but those that begin and end it."""
        # The tokenizer's own warning of long captions is for those who do not cut them.
        ids: list[int] = self._tokenizer(caption, add_special_tokens=False, verbose=False).input_ids
        return ids
