"""Datasets and images for the tests of stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.dataset.models.names import DatasetRef, ImageRef
from services.dataset.models.resources import (
    CaptionOrigin,
    Crop,
    Dataset,
    DatasetFields,
    Image,
    ImageFields,
    Picture,
    PictureFeatures,
)
from services.dataset.models.tags import Tag, TagSource
from services.dataset.ports import DatasetStore

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SET = DatasetRef("acme", "dogs")


def dataset(ref: DatasetRef = SET, *, minutes: int = 0, **fields: object) -> Dataset:
    moment = NOW + timedelta(minutes=minutes)
    return Dataset(ref, DatasetFields(**fields), moment, moment)  # type: ignore[arg-type]


def image(number: int, *, ref: DatasetRef = SET, sha: str = "", fields: ImageFields | None = None) -> Image:
    picture = Picture(
        file_name=f"Hündin {number}.png",
        content_type="image/png",
        width=640,
        height=480,
        size_bytes=3_000_000_000 + number,
        sha256=sha or f"{number:064x}",
        original_key=f"o/{ref.dataset}/{number}",
        thumbnail_key=f"t/{ref.dataset}/{number}",
        thumbnail_bytes=900,
    )
    full = fields or ImageFields(
        "a 'dog'\n☃", (Tag("Red"), Tag("b", TagSource.AUTO, 0.25, "wd", "f" * 64, "general")),
        caption_origin=CaptionOrigin("qwen", "qwen2.5-vl"), text_areas=(Crop(0.5, 0.9, 1.0, 0.95),),
        features=PictureFeatures("e" * 64, bytes(range(256)) * 3 + bytes(32)),
    )  # fmt: skip
    return Image(
        ImageRef(ref, f"img-{number}"), number, picture, full, NOW, NOW,
        facts=("square", "bars"), content_area=Crop(0.0, 0.1, 1.0, 0.9), perceptual_hash="0123456789abcdef",
    )  # fmt: skip


async def fill(store: DatasetStore, count: int, *, ref: DatasetRef = SET) -> list[Image]:
    images = [image(number, ref=ref) for number in range(1, count + 1)]
    async with store.write() as tx:
        current = dataset(ref)
        await tx.add_dataset(current)
        for each in images:
            await tx.add_image(each)
            current = current.with_image(each)
        await tx.save_dataset(current)
    return images
