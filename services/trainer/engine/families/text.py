"""Token ids of captions, remembered: the same few captions come at every step. Also texts of unequal lengths."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from services.trainer.engine.precision import on_device

REMEMBERED = 4096
REMEMBERED_BYTES = 2 << 30
"""Of conditioning. Texts that are padded for the denoiser take 8 to 16 MB each."""
MASK = "mask"
"""Of token ids whose padding reaches the denoiser: where a token is none of it, bool [B, L]."""
LENGTHS = "lengths"
"""Of conditioning whose texts are padded: tokens of each text, int64 [B]. On the host, so that no step waits for it."""
TEXTS = "encoder_hidden_states"
"""Of such conditioning: [B, longest, D]."""


class TokenIds:
    """Padded token ids by caption.

    Attributes:
        length: tokens that the text encoder takes at once.
        chunks: pieces in which captions go through it, 1 to ``most_chunks``; what is left of a longer one is cut.
    """

    def __init__(self, tokenizer: Any, length: int, most_chunks: int = 1, wrap: str = "{}") -> None:
        """``wrap``: what the encoder reads, with the caption in place of ``{}``."""
        self._tokenizer = tokenizer
        self._wrap = wrap
        self.length = length
        self.most_chunks = most_chunks
        self.chunks = 1
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Token ids on the CPU, int64 [B, length], or [B, chunks, length] of more than one chunk."""
        return torch.cat([self._of(caption) for caption in captions])

    def lengths(self, captions: Sequence[str]) -> Tensor | None:
        """Tokens of each caption without those that pad it, int64 [B] on the host; None where none do."""
        if getattr(self._tokenizer, "pad_token_id", None) is None:
            return None
        whole = [len(self._words(caption, add_special_tokens=True)) for caption in captions]
        return torch.tensor(whole).clamp(max=self.length)

    def mask(self, captions: Sequence[str]) -> Tensor | None:
        """True where a token of a caption is no padding, bool [B, length] on the CPU; None where nothing pads."""
        lengths = self.lengths(captions)
        if lengths is None:
            return None
        places = torch.arange(self.length)
        if self._tokenizer.padding_side == "left":
            return places >= self.length - lengths[:, None]
        return places < lengths[:, None]

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
            [self._wrapped(caption)], padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
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

    def _words(self, caption: str, *, add_special_tokens: bool = False) -> list[int]:
        """All tokens of a caption, those that begin and end it on request."""
        # The tokenizer's own warning of long captions is for those who do not cut them.
        text = self._wrapped(caption)
        ids: list[int] = self._tokenizer(text, add_special_tokens=add_special_tokens, verbose=False).input_ids
        return ids

    def _wrapped(self, caption: str) -> str:
        return self._wrap.replace("{}", caption, 1)


class RememberedTexts:
    """Conditioning by caption where no text encoder is trained, each caption encoded once, by itself.

    Sums round by batch size, so a caption's conditioning does not depend on those it is asked for with.
    """

    def __init__(self, encode: Callable[[str], Mapping[str, Tensor]]) -> None:
        """``encode``: the conditioning of one caption, batch first."""
        self._encode = encode
        self._known: OrderedDict[str, dict[str, Tensor]] = OrderedDict()
        self._bytes = 0

    def __contains__(self, caption: str) -> bool:
        return caption in self._known

    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Conditioning of all captions, texts padded to the longest of them."""
        rows = [self._row(caption) for caption in captions]
        return {name: _joined([row[name] for row in rows]) for name in rows[0]}

    def _row(self, caption: str) -> dict[str, Tensor]:
        if caption in self._known:
            self._known.move_to_end(caption)
        else:
            with torch.no_grad():
                encoded = self._encode(caption)
            self._known[caption] = {name: tensor[0].clone() for name, tensor in encoded.items()}
            self._bytes += _size(self._known[caption])
            while len(self._known) > REMEMBERED or (self._bytes > REMEMBERED_BYTES and len(self._known) > 1):
                self._bytes -= _size(self._known.popitem(last=False)[1])
        return self._known[caption]


def _size(row: Mapping[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in row.values())


def _joined(rows: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(rows), batch_first=True) if rows[0].dim() > 1 else torch.stack(list(rows))


def mask_of(lengths: Tensor | None, ids: Tensor) -> Tensor | None:
    """True where a token of ``ids`` [B, L] is no padding, bool [B, L] on its device; None where none is known."""
    if lengths is None:
        return None
    return torch.arange(ids.shape[1], device=ids.device) < on_device(lengths, ids.device)[:, None]


def trimmed(texts: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
    """Conditioning of padded texts [B, L, D], cut to the longest of them."""
    if lengths is None:
        return {TEXTS: texts}
    return {TEXTS: texts[:, : int(lengths.max())], LENGTHS: lengths}


def cut_to_lengths(conditioning: Mapping[str, Tensor]) -> list[Tensor]:
    """Each text [n, D] without what pads it."""
    texts = conditioning[TEXTS]
    if LENGTHS not in conditioning:
        return list(texts.unbind())
    return [text[:length] for text, length in zip(texts, conditioning[LENGTHS].tolist(), strict=True)]
