"""Read, list, change, delete and download images."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from enum import Enum

from services.chassis.errors import DataLoss, NotFound
from services.chassis.filters import Predicate, parse_filter
from services.chassis.names import check_etag
from services.chassis.pagination import PageTokens
from services.dataset.models.checks import check_label, check_text
from services.dataset.models.masks import masked
from services.dataset.models.names import DatasetRef, ImageRef, VersionImageRef
from services.dataset.models.resources import Image, ImageFields, Picture
from services.dataset.models.tags import Tag, TagSource, alike
from services.dataset.ports import Clock, DatasetStore, PictureStore
from services.dataset.use_cases.datasets import ListQuery
from services.dataset.use_cases.upkeep import Upkeep

_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
IMAGE_FILTER_FIELDS = {"file_name": "string", "caption": "string", "tags": "repeated"}


class View(Enum):
    """Which form of a picture."""

    ORIGINAL = "original"
    THUMBNAIL = "thumbnail"


@dataclass(frozen=True)
class Download:
    """A picture on its way. etag: changes with its bytes.

    chunks raises NotFound when it is deleted meanwhile, DataLoss when its bytes are wrong.
    """

    file_name: str
    content_type: str
    size_bytes: int
    etag: str
    chunks: AsyncIterator[bytes]


class ImageVerbs:
    """The verbs on images that are stored already."""

    def __init__(self, store: DatasetStore, pictures: PictureStore, upkeep: Upkeep, clock: Clock) -> None:
        self._store = store
        self._pictures = pictures
        self._upkeep = upkeep
        self._clock = clock
        self._tokens = PageTokens(default_size=100)

    async def get(self, ref: ImageRef) -> Image:
        """Reads one image. Raises NotFound."""
        async with self._store.read() as view:
            return await view.image(ref)

    async def list(self, ref: DatasetRef, query: ListQuery) -> tuple[list[Image], str, int]:
        """A page of a dataset's images in upload order, the token of the next page, and how many match in all."""
        predicates = image_filter(query.filter)
        scope = f"ListImages|{ref.name}|{query.filter.strip()}"
        page = self._tokens.open(page_size=query.page_size, page_token=query.page_token, scope=scope)
        async with self._store.read() as view:
            await view.dataset(ref)
            matching = [image for image in await view.images(ref) if matches(image, predicates)]
        last_position = int(str(page.cursor[0])) if page.cursor else 0
        rest = [image for image in matching if image.position > last_position]
        shown = rest[: page.limit]
        token = self._tokens.next((shown[-1].position,), scope=scope) if len(rest) > page.limit else ""
        return shown, token, len(matching)

    async def update(self, ref: ImageRef, given: ImageFields, mask: tuple[str, ...], etag: str) -> Image:
        """Changes the fields that the mask names. Raises NotFound, Aborted for an old etag, InvalidArgument."""
        async with self._store.write() as tx:
            dataset = await tx.lock_dataset(ref.dataset)
            current = await tx.image(ref)
            check_etag(etag, current.etag, field="image.etag")
            now = self._clock()
            updated = current.changed(masked(current.fields, _checked(given), mask), now)
            if updated is not current:
                await tx.save_image(updated)
                await tx.save_dataset(dataset.touched(now))
        return updated

    async def delete(self, ref: ImageRef, *, etag: str) -> None:
        """Deletes an image from the live set; versions keep theirs. Raises NotFound, Aborted for an old etag."""
        async with self._store.write() as tx:
            dataset = await tx.lock_dataset(ref.dataset)
            image = await tx.image(ref)
            check_etag(etag, image.etag)
            await tx.remove_image(image)
            await tx.save_dataset(dataset.without_image(image, self._clock()))
        await self._upkeep.sweep_soon()

    async def download(self, ref: ImageRef | VersionImageRef, form: View) -> Download:
        """A picture's bytes, live or as a version pinned it. Raises NotFound."""
        picture = await self._picture(ref)
        if form is View.THUMBNAIL:
            chunks = self._chunks(ref, picture.thumbnail_key, sha256="")
            stem = picture.file_name.rpartition(".")[0] or picture.file_name
            name, etag = f"{stem}-thumbnail.jpg", f"{picture.sha256}-thumbnail"
            return Download(name, "image/jpeg", picture.thumbnail_bytes, etag, chunks)
        chunks = self._chunks(ref, picture.original_key, sha256=picture.sha256)
        return Download(picture.file_name, picture.content_type, picture.size_bytes, picture.sha256, chunks)

    async def _picture(self, ref: ImageRef | VersionImageRef) -> Picture:
        async with self._store.read() as view:
            if isinstance(ref, ImageRef):
                return (await view.image(ref)).picture
            return (await view.version_image(ref)).picture

    async def _chunks(self, ref: ImageRef | VersionImageRef, key: str, *, sha256: str) -> AsyncIterator[bytes]:
        digest = hashlib.sha256()
        try:
            async for chunk in self._pictures.stream(key):
                digest.update(chunk)
                yield chunk
        except NotFound as error:
            # Deleted between the two reads: this raises NotFound with the name. Otherwise the bytes are lost.
            await self._picture(ref)
            raise _lost(ref.name) from error
        if sha256 and digest.hexdigest() != sha256:
            raise _lost(ref.name)


def image_filter(text: str) -> list[Predicate]:
    """The comparisons of an image filter. Raises InvalidArgument(field="filter")."""
    return parse_filter(check_text(text, field="filter"), IMAGE_FILTER_FIELDS)


def matches(image: Image, predicates: list[Predicate]) -> bool:
    """Whether all comparisons hold. Text compares in folded case, `tags:` as labels compare."""
    return all(_holds(image, predicate) for predicate in predicates)


def _holds(image: Image, predicate: Predicate) -> bool:
    value = str(predicate.value)
    if predicate.field == "tags":
        return bool(image.fields.tags) if value == "*" else any(alike(tag.label, value) for tag in image.fields.tags)
    text = (image.picture.file_name if predicate.field == "file_name" else image.fields.caption).casefold()
    folded = value.casefold()
    if predicate.op == ":":
        return bool(text) if value == "*" else folded in text
    return _COMPARE[predicate.op](text, folded)


def _checked(fields: ImageFields) -> ImageFields:
    return replace(
        fields,
        caption=check_text(fields.caption, field="image.caption", lines=True),
        tags=tuple(_checked_tag(tag, f"image.tags[{index}]") for index, tag in enumerate(fields.tags)),
    )


def _checked_tag(tag: Tag, field: str) -> Tag:
    label = check_label(tag.label, field=f"{field}.label")
    category = check_text(tag.category, field=f"{field}.category")
    if tag.source is TagSource.MANUAL:
        # A person vouches for it: no score, no tagger.
        return Tag(label, category=category)
    return replace(
        tag,
        label=label,
        category=category,
        tagger=check_text(tag.tagger, field=f"{field}.tagger"),
        model_sha256=check_text(tag.model_sha256, field=f"{field}.model_sha256"),
    )


def _lost(name: str) -> DataLoss:
    return DataLoss(
        f"The stored bytes of {name} are not what was uploaded",
        reason="IMAGE_LOST",
        remedy="Restore the object store from its backup, or delete the image and upload it again.",
        metadata={"name": name},
    )
