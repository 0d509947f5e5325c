"""From the mask of a picture to weights of its loss: cut, resized and mirrored exactly as the picture is.

Weights have mean 1, whatever the mask covers, so that the gradients of a small subject are not smaller than those of a
large one (as in OneTrainer's normalised masked loss).
"""

from __future__ import annotations

import hashlib

import numpy
import torch
from PIL import Image
from torch import Tensor

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import Decode, TrainItem
from services.trainer.recipe.buckets import Box

_NOTHING = 1e-4
"""A view whose mask covers less than this share shows nothing to train."""


def open_mask(item: TrainItem, resolution: int, decode: Decode) -> tuple[Image.Image, str] | None:
    """The item's mask as a grey picture of any size, and its digest; None where it has none.

    Raises:
        EngineError: MASK_MISSING when the file vanished, MASK_UNREADABLE when it is damaged.
    """
    if item.mask_path is None:
        return None
    name = item.name or item.image_path.name
    try:
        data = item.mask_path.read_bytes()
        mask, _ = decode(data, resolution, name)
    except OSError as error:
        again = "Retry the job; if it happens again, set the mask anew and freeze a new dataset version."
        raise EngineError("MASK_MISSING", f"The mask of {name} is gone.", again) from error
    except EngineError as error:
        anew = "Set the mask anew and freeze a new dataset version."
        message = f"The mask of {name} cannot be read."
        raise EngineError("MASK_UNREADABLE", message, anew, user_error=error.user_error) from error
    return mask.convert("L"), hashlib.sha256(data).hexdigest()


def covered(
    mask: Image.Image, image_size: tuple[int, int], box: Box, shape: tuple[int, int], *, mirrored: bool
) -> numpy.ndarray:
    """What the mask covers of each place of a view, float32 [height, width] in 0 to 1.

    Args:
        image_size: width and height of the picture that ``box`` lies in.
        shape: width and height of the result, such as the latent's.
    """
    across, down = mask.width / image_size[0], mask.height / image_size[1]
    place = box[0] * across, box[1] * down, box[2] * across, box[3] * down
    smaller = place[2] - place[0] >= shape[0] and place[3] - place[1] >= shape[1]
    # Means over areas; where the mask is coarser than the result, what lies between is interpolated.
    how = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    grey = mask.convert("F").resize(shape, how, box=place)
    if mirrored:
        grey = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    shares: numpy.ndarray = numpy.clip(numpy.asarray(grey, numpy.float32) / 255.0, 0.0, 1.0)
    return shares


def loss_weights(shares: numpy.ndarray, outside: float) -> Tensor:
    """Weights of the loss [1, height, width] with mean 1; all 0 where the view shows nothing that is covered.

    Args:
        shares: what is covered, [height, width] in 0 to 1.
        outside: weight of what is not, as a share of the weight of what is.
    """
    weights = torch.from_numpy(outside + (1.0 - outside) * shares).unsqueeze(0)
    if float(shares.mean()) < _NOTHING:
        return torch.zeros_like(weights)
    return weights / weights.mean()


def check_covered(shares: numpy.ndarray, name: str) -> None:
    """Refuses a picture of which nothing would be trained.

    Raises:
        EngineError: MASK_OUTSIDE_CROP.
    """
    if float(shares.mean()) < _NOTHING:
        message = f"The crop of {name} shows nothing that its mask marks."
        remedy = "Widen the crop or mend the mask, and freeze a new dataset version."
        raise EngineError("MASK_OUTSIDE_CROP", message, remedy)
