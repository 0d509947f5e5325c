"""The autoencoder's posterior of every view, computed once and resident on the device.

Mean and standard deviation are kept rather than one sample, so that each step still draws a fresh latent. On disk the
results are keyed by content: a second job on the same pictures and base model starts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from services.trainer.engine.families.autoencoder import Posterior
from services.trainer.engine.families.base import Family
from services.trainer.engine.losses import region_mask
from services.trainer.engine.masks import check_covered, loss_weights
from services.trainer.engine.pictures import Picture, View, mask_in_view, region_in_view, render, views_of
from services.trainer.engine.precision import on_device
from services.trainer.engine.tensor_cache import TensorCache
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.workload import ENCODE_BATCH


@dataclass(frozen=True, slots=True)
class BucketLatents:
    """All views of one shape.

    Attributes:
        mean, std: float32 [rows, C, h, w] on the device.
        mask: loss weights [rows, 1, h, w], or None.
        rows: for each member of the bucket, its rows; the first is the plain view.
        regularization_rows: rows of the base model's own domain.
    """

    width: int
    height: int
    mean: Tensor
    std: Tensor
    mask: Tensor | None
    rows: dict[int, tuple[int, ...]]
    regularization_rows: tuple[int, ...]

    def draw(self, rows: Sequence[int], generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Fresh latents [B, C, h, w] of some rows, and their masks."""
        index = on_device(torch.tensor(rows), self.mean.device)
        mean = self.mean[index]
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return mean + self.std[index] * noise, None if self.mask is None else self.mask[index]

    def plain(self, member: int) -> tuple[Tensor, Tensor | None]:
        """The mean latent [1, C, h, w] of a member's plain view, and its loss weights [1, 1, h, w] or None."""
        row = self.rows[member][0]
        return self.mean[row].unsqueeze(0), None if self.mask is None else self.mask[row].unsqueeze(0)


class LatentEncoder:
    """Encodes views with a family's autoencoder, through the cache on disk when there is one."""

    def __init__(self, family: Family, model_digest: str, cache_dir: Path | None, on_done: Callable[[], None]) -> None:
        """``model_digest`` names the autoencoder's weights; ``on_done`` is called after each picture."""
        self._family = family
        self._model_digest = model_digest
        self._cache = TensorCache(cache_dir)
        self._on_done = on_done

    def encode_pictures(
        self, members: dict[int, Picture], shape: tuple[int, int], parameters: TrainingParameters
    ) -> tuple[Posterior, list[Tensor | None], dict[int, tuple[int, ...]]]:
        """Posteriors, masks and row numbers of all views of a bucket's pictures."""
        parts: list[Posterior] = []
        masks: list[Tensor | None] = []
        rows: dict[int, tuple[int, ...]] = {}
        count = 0
        for member, picture in members.items():
            views = views_of(picture, shape, parameters)
            key = self._key(picture.digest, shape, repr(views))
            pixels = [render(picture.image, view, shape) for view in views]
            parts.append(self._through_cache(key, numpy.stack(pixels)))
            masks.extend(self.mask(picture, view, shape, parameters) for view in views)
            rows[member] = tuple(range(count, count + len(views)))
            count += len(views)
            self._on_done()
        joined = Posterior(torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts]))
        return joined, masks, rows

    def encode_pixels(self, pixels: numpy.ndarray, digest: str) -> Posterior:
        """Posterior of ready pixels uint8 [N, H, W, 3], such as a regularisation set."""
        return self._through_cache(self._key(digest, pixels.shape[1:3], "pixels"), pixels)

    def mask(
        self, picture: Picture, view: View, shape: tuple[int, int], parameters: TrainingParameters
    ) -> Tensor | None:
        """Loss weights [1, h, w] of a view: by the picture's mask, or else its crop; None where there is nothing to
        mask.

        Raises:
            EngineError: MASK_OUTSIDE_CROP.
        """
        factor = self._family.latent_factor
        shares = mask_in_view(picture, view, shape, factor)
        if shares is not None:
            if view == views_of(picture, shape, parameters)[0]:
                check_covered(shares, picture.item.name or picture.item.image_path.name)
            return loss_weights(shares, parameters.unmasked_weight)
        region = region_in_view(picture, view)
        if region is None:
            return None
        return region_mask(shape[1] // factor, shape[0] // factor, region, parameters.unmasked_weight)

    def _key(self, digest: str, shape: tuple[int, ...], views: str) -> str:
        return f"{self._model_digest}|{digest}|{shape}|{views}"

    def _through_cache(self, key: str, pixels: numpy.ndarray) -> Posterior:
        found, device = self._cache.through(key, lambda: self._encode(pixels)), self._family.device
        return Posterior(found["mean"].to(device), found["std"].to(device))

    def _encode(self, pixels: numpy.ndarray) -> dict[str, Tensor]:
        means, stds = [], []
        for start in range(0, len(pixels), ENCODE_BATCH):
            chunk = torch.from_numpy(pixels[start : start + ENCODE_BATCH].copy()).to(self._family.device)
            normalised = chunk.permute(0, 3, 1, 2).float() / 127.5 - 1.0
            with torch.no_grad():
                posterior = self._family.encode_pixels(normalised)
            means.append(posterior.mean)
            stds.append(posterior.std)
        return {"mean": torch.cat(means).contiguous(), "std": torch.cat(stds).contiguous()}


def joined_masks(masks: list[Tensor | None], extra_rows: int, height: int, width: int) -> Tensor | None:
    """One mask tensor [rows, 1, h, w] with 1 where a row has none, or None when no row has any."""
    if all(mask is None for mask in masks):
        return None
    plain = torch.ones(1, height, width)
    return torch.stack([plain if mask is None else mask for mask in masks] + [plain] * extra_rows)
