"""Pictures as a job would train them."""

from __future__ import annotations

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.trainer.v1 import training_picture_pb2

from services.trainer.models.base import TextSource
from services.trainer.recipe.buckets import Crop
from services.trainer.use_cases.previewing import SeenPicture

_Picture = training_picture_pb2.TrainingPicture
_SOURCES = {
    TextSource.UNKNOWN: _Picture.TEXT_SOURCE_UNSPECIFIED,
    TextSource.CAPTION: _Picture.TEXT_SOURCE_CAPTION,
    TextSource.TAGS: _Picture.TEXT_SOURCE_TAGS,
    TextSource.CAPTION_AND_TAGS: _Picture.TEXT_SOURCE_CAPTION_AND_TAGS,
    TextSource.NONE: _Picture.TEXT_SOURCE_NONE,
}


def picture_to_proto(seen: SeenPicture) -> training_picture_pb2.TrainingPicture:
    """One picture of a preview."""
    image = seen.image
    return _Picture(
        image=image.name,
        file_name=image.file_name,
        text=image.caption,
        text_source=_SOURCES[image.text_source],
        tags_unused=image.tags_unused,
        caption_unused=image.caption_unused,
        token_count=seen.tokens,
        token_limit=seen.token_limit,
        crop=_crop(image.size.crop),
        seen=_crop(seen.seen),
        seen_width=round(seen.seen_size[0]),
        seen_height=round(seen.seen_size[1]),
        bucket_width=seen.bucket[0],
        bucket_height=seen.bucket[1],
        lost_share=seen.lost_share,
        enlargement=seen.enlargement,
        samples_per_epoch=seen.samples,
        picture=seen.picture,
        mask=seen.mask,
        has_mask=image.size.masked,
    )


def _crop(crop: Crop | None) -> dataset_pb2.Crop | None:
    return dataset_pb2.Crop(left=crop[0], top=crop[1], right=crop[2], bottom=crop[3]) if crop else None
