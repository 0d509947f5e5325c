"""Pictures of the base model's own domain that keep it from forgetting while it learns a subject.

DreamBooth (Ruiz et al. 2023) calls this prior preservation. A base model may ship such a set as
``regularization.safetensors``: tensor ``pictures`` uint8 [N, H, W, 3], metadata ``captions`` a JSON list of N texts.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy
from PIL import Image
from safetensors import SafetensorError, safe_open

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import BaseModelFiles, TrainJobSpec
from services.trainer.engine.json_text import to_json
from services.trainer.engine.pictures import Picture, open_picture, render, views_of
from services.trainer.recipe.catalogue import REGULARIZATION_FILE
from services.trainer.recipe.parameters import TrainingParameters


@dataclass(frozen=True, slots=True)
class RegularizationSet:
    """Pictures with captions; ``digest`` names their content."""

    pictures: numpy.ndarray
    captions: tuple[str, ...]
    digest: str

    def resized(self, width: int, height: int) -> numpy.ndarray:
        """Pixels uint8 [N, height, width, 3], cut in the middle to the bucket's aspect ratio."""
        if self.pictures.shape[1:3] == (height, width):
            return self.pictures
        return numpy.stack([_cover(picture, width, height) for picture in self.pictures])


@dataclass(frozen=True, slots=True)
class OwnRegularization:
    """The user's own pictures of the base model's world; see ``RegularizationSet``."""

    pictures: tuple[Picture, ...]
    captions: tuple[str, ...]
    digest: str
    parameters: TrainingParameters

    def resized(self, width: int, height: int) -> numpy.ndarray:
        """Pixels uint8 [N, height, width, 3], each cut as a training picture of that bucket is."""
        shape = (width, height)
        return numpy.stack(
            [render(each.image, views_of(each, shape, self.parameters)[0], shape) for each in self.pictures]
        )


def regularization_of(spec: TrainJobSpec) -> RegularizationSet | OwnRegularization | None:
    """What a job mixes in: the user's own pictures, else those of its base model; None where it asks for neither.

    Raises:
        EngineError: as ``load_regularization`` and ``open_picture``.
    """
    if spec.parameters.regularization_fraction == 0.0:
        return None
    if not spec.regularization:
        return load_regularization(spec.base_model)
    plain = replace(spec.parameters, masked_loss=False, crop_variants=1, flip=False)
    pictures = tuple(open_picture(item, plain, spec.decode) for item in spec.regularization)
    captions = tuple(item.caption for item in spec.regularization)
    contents = [(picture.digest, picture.item.crop) for picture in pictures]
    return OwnRegularization(pictures, captions, hashlib.sha256(to_json(contents).encode()).hexdigest(), plain)


def load_regularization(files: BaseModelFiles) -> RegularizationSet:
    """The set that ships with a base model, or with the folder of its configuration where it is a single file.

    Raises:
        EngineError: REGULARIZATION_MISSING when the base model has none, BASE_MODEL_CORRUPT when it is damaged.
    """
    folders = [Path(folder) for folder in (files.source, files.config_source) if folder]
    path = next((folder / REGULARIZATION_FILE for folder in folders if (folder / REGULARIZATION_FILE).is_file()), None)
    if path is None:
        raise EngineError(
            "REGULARIZATION_MISSING",
            f"The base model {files.id} ships no regularisation pictures.",
            "Set regularization_fraction to 0.",
        )
    try:
        with safe_open(path, framework="numpy") as opened:
            pictures = opened.get_tensor("pictures")
            captions = tuple(json.loads((opened.metadata() or {})["captions"]))
    except (SafetensorError, KeyError, ValueError) as error:
        raise _damaged(files) from error
    if pictures.ndim != 4 or pictures.dtype != numpy.uint8 or len(pictures) != len(captions):
        raise _damaged(files)
    return RegularizationSet(pictures, captions, hashlib.sha256(pictures.tobytes()).hexdigest())


def _damaged(files: BaseModelFiles) -> EngineError:
    return EngineError(
        "BASE_MODEL_CORRUPT",
        f"The regularisation pictures of the base model {files.id} cannot be read.",
        "Install the base model again, or set regularization_fraction to 0.",
    )


def _cover(picture: numpy.ndarray, width: int, height: int) -> numpy.ndarray:
    image = Image.fromarray(picture)
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    box = (left, top, left + width * scale, top + height * scale)
    return numpy.asarray(image.resize((width, height), Image.Resampling.LANCZOS, box=box))
