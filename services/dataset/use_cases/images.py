"""Read, list, change, delete and download images."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

from services.chassis.errors import DataLoss, InvalidArgument, NotFound
from services.chassis.listing import memory
from services.chassis.listing.fields import labels, moment, text, text_map
from services.chassis.listing.filters import Filter, parse_filter
from services.chassis.listing.pages import Listing, ListRequest, PageTokens
from services.chassis.names import check_etag
from services.dataset.models.checks import Texts, check_text
from services.dataset.models.faults import no_mask
from services.dataset.models.names import DatasetRef, ImageRef, VersionImageRef
from services.dataset.models.resources import CaptionOrigin, Image, ImageFields, Picture, VersionImage
from services.dataset.models.tags import Tag, TagSource, normal_label
from services.dataset.models.update_masks import masked
from services.dataset.ports import Clock, DatasetStore, PictureStore
from services.dataset.use_cases.edits import naming_editor, record
from services.dataset.use_cases.upkeep import Upkeep


def _value(image: Image, name: str) -> Any:
    match name:
        case "tags":
            return [normal_label(tag.label) for tag in image.fields.tags]
        case "caption" | "labels":
            return getattr(image.fields, name)
        case "file_name":
            return image.picture.file_name
        case _:
            return getattr(image, name)


# A dataset is small by its limits, so its images are read whole. Labels compare as `normal_label` says.
IMAGES: Listing[Image] = Listing(
    "ListImages",
    fields={
        "file_name": text(fold=str.casefold),
        "caption": text(fold=str.casefold),
        "tags": labels(fold=normal_label),
        "facts": labels(fold=str.casefold),
        "labels": text_map(),
        "create_time": moment(),
        "update_time": moment(),
    },
    sortable={"create_time": datetime, "update_time": datetime, "file_name": str},
    key=("position", int),
    read=_value,
    default_size=100,
)


class View(Enum):
    """Which form of a picture."""

    ORIGINAL = "original"
    THUMBNAIL = "thumbnail"
    CROP = "crop"
    MASK = "mask"


@dataclass(frozen=True)
class Download:
    """A file on its way. size_bytes: None when not known. etag: changes with its bytes.

    chunks raises NotFound when it is deleted meanwhile, DataLoss when its bytes are wrong.
    """

    file_name: str
    content_type: str
    size_bytes: int | None
    etag: str
    chunks: AsyncIterator[bytes]


class ImageVerbs:
    """The verbs on images that are stored already."""

    def __init__(
        self, store: DatasetStore, pictures: PictureStore, upkeep: Upkeep, clock: Clock, tokens: PageTokens
    ) -> None:
        self._store = store
        self._pictures = pictures
        self._upkeep = upkeep
        self._clock = clock
        self._tokens = tokens

    async def get(self, ref: ImageRef) -> Image:
        """Reads one image. Raises NotFound."""
        async with self._store.read() as view:
            return await view.image(ref)

    async def list(self, request: ListRequest) -> tuple[list[Image], str, int]:
        """A page of a dataset's images, in upload order unless asked otherwise, the next token, and how many match."""
        ref = DatasetRef.parse(request.parent, field="parent")
        check_text(request.filter, field="filter")
        asked = IMAGES.open(request, self._tokens)
        async with self._store.read() as view:
            await view.dataset(ref)
            images = await view.images(ref)
        found, total = memory.page(images, asked.query, IMAGES)
        return *asked.answer(found), total

    async def update(self, ref: ImageRef, given: ImageFields, mask: tuple[str, ...], etag: str) -> Image:
        """Changes the fields that the mask names. Raises NotFound, Aborted for an old etag, InvalidArgument."""
        async with self._store.write() as tx:
            dataset = await tx.lock_dataset(ref.dataset)
            current = await tx.image(ref)
            now = self._clock()
            async with naming_editor(tx, ref):
                updated = edited(current, given, mask, etag, now)
            if await record(tx, ref.dataset, [(current, updated)], "UpdateImage"):
                await tx.save_dataset(dataset.touched(now))
        return updated

    async def delete(self, ref: ImageRef, *, etag: str) -> None:
        """Deletes an image from the live set; versions keep theirs. Raises NotFound, Aborted for an old etag."""
        async with self._store.write() as tx:
            dataset = await tx.lock_dataset(ref.dataset)
            image = await tx.image(ref)
            async with naming_editor(tx, ref):
                check_etag(etag, image.etag)
            await tx.remove_image(image)
            await tx.save_dataset(dataset.without_image(image, self._clock()))
        await self._upkeep.sweep_soon()

    async def stored(self, ref: ImageRef | VersionImageRef, form: View) -> tuple[str, str]:
        """The key of a picture's bytes, and the name to save them under. Raises NotFound, InvalidArgument."""
        if form in (View.CROP, View.MASK):
            raise InvalidArgument(
                f"A {form.value} is not served by an address",
                field="view",
                reason="VIEW_NOT_STORED",
                remedy="Read it with DownloadImage or GetImageContent.",
            )
        picture = (await self.record(ref)).picture
        if form is View.THUMBNAIL:
            return picture.thumbnail_key, _thumbnail_name(picture)
        return picture.original_key, picture.file_name

    async def download(self, ref: ImageRef | VersionImageRef, form: View) -> Download:
        """A picture's stored bytes, live or as a version pinned it. Raises NotFound."""
        record = await self.record(ref)
        picture = record.picture
        if form is View.THUMBNAIL:
            chunks = self._chunks(ref, picture.thumbnail_key, sha256="")
            name, etag = _thumbnail_name(picture), f"{picture.sha256}-thumbnail"
            return Download(name, "image/jpeg", picture.thumbnail_bytes, etag, chunks)
        if form is View.MASK:
            mask = record.mask
            if mask is None:
                raise no_mask(ref.name)
            chunks = self._chunks(ref, mask.key, sha256=mask.sha256)
            return Download(f"{_stem(picture)}-mask.png", "image/png", mask.size_bytes, mask.sha256, chunks)
        chunks = self._chunks(ref, picture.original_key, sha256=picture.sha256)
        return Download(picture.file_name, picture.content_type, picture.size_bytes, picture.sha256, chunks)

    async def record(self, ref: ImageRef | VersionImageRef) -> Image | VersionImage:
        """An image, live or as a version pinned it. Raises NotFound."""
        async with self._store.read() as view:
            return await (view.image(ref) if isinstance(ref, ImageRef) else view.version_image(ref))

    async def _chunks(self, ref: ImageRef | VersionImageRef, key: str, *, sha256: str) -> AsyncIterator[bytes]:
        digest = hashlib.sha256()
        try:
            async for chunk in self._pictures.stream(key):
                digest.update(chunk)
                yield chunk
        except NotFound as error:
            # Deleted between the two reads: this raises NotFound with the name. Otherwise the bytes are lost.
            found = await self.record(ref)
            if key not in found.picture.keys and (found.mask is None or found.mask.key != key):
                raise no_mask(ref.name) from error
            raise _lost(ref.name) from error
        if sha256 and digest.hexdigest() != sha256:
            raise _lost(ref.name)


def image_filter(text: str) -> Filter:
    """The filter of a verb on many images. Raises InvalidArgument(field="filter")."""
    return parse_filter(check_text(text, field="filter"), IMAGES.fields)


def _thumbnail_name(picture: Picture) -> str:
    return f"{_stem(picture)}-thumbnail.jpg"


def _stem(picture: Picture) -> str:
    return picture.file_name.rpartition(".")[0] or picture.file_name


def edited(image: Image, given: ImageFields, mask: tuple[str, ...], etag: str, now: datetime) -> Image:
    """The image with the fields that the mask names; itself when they are equal. Raises Aborted, InvalidArgument.

    A new caption is a person's unless the mask names its origin too: who sends a whole image back has edited it.
    """
    check_etag(etag, image.etag, field="image.etag")
    fields = masked(image.fields, checked_image(given), mask)
    told = given.caption_origin is not None and "caption_origin" in mask
    if not fields.caption or (fields.caption != image.fields.caption and not told):
        fields = replace(fields, caption_origin=None)
    return image.changed(fields, now)


def checked_image(fields: ImageFields) -> ImageFields:
    """The fields with tidy texts. Raises InvalidArgument that names every wrong one."""
    texts = Texts()
    checked = replace(
        fields,
        caption=texts.checked(fields.caption, field="image.caption", lines=True),
        tags=tuple(_checked_tag(tag, f"image.tags[{index}]", texts) for index, tag in enumerate(fields.tags)),
        caption_origin=_checked_origin(fields.caption_origin, texts),
    )
    texts.refuse()
    return checked


def _checked_origin(origin: CaptionOrigin | None, texts: Texts) -> CaptionOrigin | None:
    if origin is None:
        return None
    captioner = texts.checked(origin.captioner, field="image.caption_origin.captioner")
    model = texts.checked(origin.model, field="image.caption_origin.model")
    # Without a captioner it says nothing, as an unset message does.
    return CaptionOrigin(captioner, model) if captioner else None


def _checked_tag(tag: Tag, field: str, texts: Texts) -> Tag:
    label = texts.label(tag.label, field=f"{field}.label")
    category = texts.checked(tag.category, field=f"{field}.category")
    if tag.source is TagSource.MANUAL:
        # A person vouches for it: no score, no tagger.
        return Tag(label, category=category)
    return replace(
        tag,
        label=label,
        category=category,
        tagger=texts.checked(tag.tagger, field=f"{field}.tagger"),
        model_sha256=texts.checked(tag.model_sha256, field=f"{field}.model_sha256"),
    )


def _lost(name: str) -> DataLoss:
    return DataLoss(
        f"The stored bytes of {name} are not what was uploaded",
        reason="IMAGE_LOST",
        remedy="Restore the object store from its backup, or delete the image and upload it again.",
        metadata={"name": name},
    )
