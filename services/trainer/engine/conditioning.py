"""Text conditioning of a batch: computed once per caption while the text encoder is frozen, else at every step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from services.trainer.engine.families.base import Conditioning, Family
from services.trainer.engine.precision import on_device

REMEMBERED_CAPTIONS = 4096
"""Shuffled captions have more variants than any memory; the least recently used are encoded again."""

_INDEX = "caption_of_sample"


class TextConditioner:
    """Conditioning by caption, resident on the family's device.

    ``inputs`` gives what a step needs of its captions, without gradients; ``encode``, inside the step, turns that into
    conditioning. While the text encoder is frozen the first does all the work, else the second does.
    """

    def __init__(
        self, family: Family, *, trained: bool, fixed_shapes: bool = False, limit: int = REMEMBERED_CAPTIONS
    ) -> None:
        """Start with nothing remembered.

        Args:
            trained: a text encoder carries an adapter, so every step needs fresh embeddings with gradients.
            fixed_shapes: encode as many captions as there are samples, though some occur twice, so that every step of
                a batch size has the same shapes.
        """
        self._family = family
        self._trained = trained and not family.facts.text_stays_frozen
        self._fixed_shapes = fixed_shapes
        self._limit = limit
        self._remembered: OrderedDict[str, Conditioning] = OrderedDict()

    def inputs(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Tensors with one row a sample or a distinct caption, on the device."""
        if self._family.facts.text_stays_frozen:
            # It remembers them itself, for measurements and pictures too.
            return self._family.encode_text(captions)
        if not self._trained:
            rows = [self._recalled(caption) for caption in captions]
            return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        unique = list(dict.fromkeys(captions))
        index = torch.tensor([unique.index(caption) for caption in captions])
        if self._fixed_shapes:
            unique += [unique[0]] * (len(captions) - len(unique))
        return {_INDEX: on_device(index, self._family.device), **self._family.token_ids(unique)}

    def encode(self, inputs: Mapping[str, Tensor]) -> Conditioning:
        """Conditioning of each sample; a caption that occurs twice is encoded once."""
        if not self._trained:
            return dict(inputs)
        tokens = {name: tensor for name, tensor in inputs.items() if name != _INDEX}
        encoded = self._family.encode_tokens(tokens)
        return {name: tensor.index_select(0, inputs[_INDEX]) for name, tensor in encoded.items()}

    def remember(self, captions: Sequence[str]) -> None:
        """Encode captions ahead of the first step."""
        if not self._trained and not self._family.facts.text_stays_frozen:
            for caption in list(dict.fromkeys(captions))[: self._limit]:
                self._recalled(caption)

    def _recalled(self, caption: str) -> Conditioning:
        if caption in self._remembered:
            self._remembered.move_to_end(caption)
        else:
            # One at a time: sums round by batch size, and what a resumed run has yet to encode differs from what the
            # run before it had.
            with torch.no_grad():
                encoded = self._family.encode_text([caption])
            self._remembered[caption] = {name: tensor[0].clone() for name, tensor in encoded.items()}
            if len(self._remembered) > self._limit:
                self._remembered.popitem(last=False)
        return self._remembered[caption]
