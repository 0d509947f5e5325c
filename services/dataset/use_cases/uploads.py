"""Take a picture in: check what is announced, read the stream, check what came, store it whole or not at all.

The limits are enforced twice. Before the bytes are read, by what the header says; after them, by what was counted and
decoded, and under the lock of the dataset, where two uploads cannot both take the last free place.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

from services.chassis.budgets import IMAGES, STORED_BYTES, UNLIMITED, UPLOADS, AtOnce, Budgets
from services.chassis.byte_budget import ByteBudget, Held
from services.chassis.errors import AlreadyExists, InvalidArgument, ResourceExhausted, collected, refuse_all
from services.chassis.names import new_id
from services.chassis.requests.keys import RequestKey, digest
from services.chassis.uploads import chunks_of, header_of
from services.dataset.models.checks import Limits, Texts, check_file_name
from services.dataset.models.names import DatasetRef, ImageRef
from services.dataset.models.resources import Crop, Dataset, Image, ImageFields, Picture
from services.dataset.models.tags import Tag
from services.dataset.models.usage import ProjectUsage
from services.dataset.ports import Clock, DatasetReader, DatasetStore, DatasetWriter, PictureStore
from services.dataset.use_cases.intake import CheckedPicture, Intake
from services.dataset.use_cases.upkeep import Upkeep


@dataclass(frozen=True)
class UploadHeader:
    """What an upload announces. size_bytes 0 and sha256 "": not known beforehand.

    num_repeats, crop: of the image; only an archive says them.
    """

    dataset: DatasetRef
    file_name: str
    size_bytes: int = 0
    sha256: str = ""
    caption: str = ""
    tags: tuple[str, ...] = ()
    request_id: str = ""
    num_repeats: int = 0
    crop: Crop | None = None


class UploadVerb:
    """UploadImage. idle_s: longest pause between two messages; reservation: time to store the bytes."""

    def __init__(
        self,
        store: DatasetStore,
        pictures: PictureStore,
        intake: Intake,
        upkeep: Upkeep,
        clock: Clock,
        budget: ByteBudget,
        budgets: Budgets = UNLIMITED,
        *,
        at_once: AtOnce | None = None,
        limits: Limits,
        idle_s: float,
        reservation: timedelta,
    ) -> None:
        self._store = store
        self._pictures = pictures
        self._intake = intake
        self._upkeep = upkeep
        self._clock = clock
        self._budget = budget
        self._budgets = budgets
        self._at_once = at_once or AtOnce(budgets, UPLOADS)
        self._limits = limits
        self._idle_s = idle_s
        self._reservation = reservation

    async def upload(self, messages: AsyncIterator[UploadHeader | bytes]) -> Image:
        """Reads a header and then the picture's bytes, and stores the picture.

        Raises InvalidArgument (the reasons begin with IMAGE_ or FILE_NAME_), NotFound for the dataset,
        AlreadyExists(IMAGE_DUPLICATE), ResourceExhausted(DATASET_FULL, BYTES_IN_FLIGHT, BUDGET_USED_UP),
        DeadlineExceeded(UPLOAD_STALLED), Unavailable(DECODER_UNAVAILABLE).
        Until the stream has ended well nothing is stored; from then on a caller that goes away changes nothing.
        """
        header = await header_of(messages, UploadHeader, idle_s=self._idle_s)
        file_format, fields = self.checked_header(header)
        project = header.dataset.project
        with ExitStack() as stack:
            stack.enter_context(self._at_once.one(project, field="header.parent"))
            held = stack.enter_context(self._budget.holding(project))
            held.at_least(header.size_bytes)
            await self._admit_early(header)
            data = await self._bytes(messages, header, held)
            picture = await self._intake.check(data, file_format, project=project)
            storing = asyncio.create_task(self._store_whole(header, fields, data, picture))
            # The bytes stay in memory until they are stored, also when the caller goes away meanwhile.
            release = stack.pop_all().close
            storing.add_done_callback(lambda _: release())
            return await asyncio.shield(storing)

    def checked_header(self, header: UploadHeader) -> tuple[str, ImageFields]:
        """The format that the name promises, and what is said of the picture. Raises InvalidArgument that names every
        wrong field."""
        texts, wrong = Texts(), list[InvalidArgument]()
        file_format = collected(
            wrong, lambda: check_file_name(header.file_name, self._limits, field="header.file_name")
        )
        fields = ImageFields(
            caption=texts.checked(header.caption, field="header.caption", lines=True),
            tags=tuple(Tag(texts.label(label, field="header.tags")) for label in header.tags),
            crop=header.crop,
            num_repeats=header.num_repeats,
        )
        texts.checked(header.request_id, field="header.request_id")
        collected(wrong, texts.refuse)
        if header.size_bytes > self._limits.max_image_bytes:
            wrong.append(self._too_large("header.size_bytes", f" ({header.size_bytes})"))
        refuse_all(wrong)
        assert file_format is not None
        return file_format, fields

    async def _admit_early(self, header: UploadHeader) -> None:
        """Refuses what is already known to fail, before the bytes travel. A repeat of a known request goes on."""
        async with self._store.read() as view:
            dataset = await view.dataset(header.dataset)
            if await view.request_is_known(_request_key(header, header.sha256)):
                return
            await self._check_place(view, dataset, header.sha256)
            self._check_budgets(await view.usage(header.dataset.project), header.dataset.project, header.size_bytes)

    async def _bytes(self, messages: AsyncIterator[UploadHeader | bytes], header: UploadHeader, held: Held) -> bytes:
        data = bytearray()
        async for chunk in chunks_of(messages, idle_s=self._idle_s):
            size = len(data) + len(chunk)
            if size > self._limits.max_image_bytes:
                raise self._too_large("chunk")
            if header.size_bytes and size > header.size_bytes:
                raise _incomplete(f"more than the {header.size_bytes} bytes that the header announced came")
            held.at_least(size)
            data += chunk
        if header.size_bytes and len(data) != header.size_bytes:
            raise _incomplete(f"{len(data)} of {header.size_bytes} bytes came")
        if header.sha256 and data and hashlib.sha256(data).hexdigest() != header.sha256:
            raise InvalidArgument(
                "The received bytes do not match the announced SHA-256",
                field="header.sha256",
                reason="IMAGE_DIGEST_MISMATCH",
                remedy="Upload the picture again; it was damaged in transit, or the digest is of another file.",
            )
        return bytes(data)

    async def _store_whole(
        self, header: UploadHeader, fields: ImageFields, data: bytes, checked: CheckedPicture
    ) -> Image:
        ref = ImageRef(header.dataset, new_id("img"))
        picture = _picture(ref, header.file_name, checked, size_bytes=len(data))
        async with self._store.write() as tx:
            _, known = await self._admit(tx, header, picture)
            if known is not None:
                return known
            await tx.reserve_keys(picture.keys, until=self._clock() + self._reservation)
        try:
            # One after the other: a failed write must not leave another one running behind the clean-up.
            await self._pictures.put(picture.original_key, data, content_type=picture.content_type)
            await self._pictures.put(picture.thumbnail_key, checked.thumbnail, content_type="image/jpeg")
            image, kept = await self._add(header, fields, ref, picture, checked)
        except Exception:
            await self._upkeep.discard(picture.keys)
            raise
        if not kept:
            await self._upkeep.discard(picture.keys)
        return image

    async def _add(
        self, header: UploadHeader, fields: ImageFields, ref: ImageRef, picture: Picture, checked: CheckedPicture
    ) -> tuple[Image, bool]:
        """The stored image, and whether it is this upload's (false: a repeat of the same request was faster)."""
        async with self._store.write() as tx:
            dataset, known = await self._admit(tx, header, picture)
            if known is not None:
                return known, False
            now = self._clock()
            image = Image(
                ref=ref,
                position=dataset.last_position + 1,
                picture=picture,
                fields=fields,
                create_time=now,
                update_time=now,
                facts=checked.facts,
                content_area=checked.content_area,
                perceptual_hash=checked.perceptual_hash,
            )
            await tx.keep_keys(picture.keys)
            await tx.add_image(image)
            await tx.save_dataset(dataset.with_image(image))
            await tx.remember(_request_key(header, picture.sha256), ref.name)
        return image, True

    async def _admit(self, tx: DatasetWriter, header: UploadHeader, picture: Picture) -> tuple[Dataset, Image | None]:
        """The locked dataset, and the image that a repeated request has made before."""
        dataset = await tx.lock_dataset(header.dataset)
        known = await tx.recall(_request_key(header, picture.sha256))
        if known is not None:
            return dataset, await tx.image(ImageRef.parse(known))
        await self._check_place(tx, dataset, picture.sha256)
        project = header.dataset.project
        self._check_budgets(await tx.lock_usage(project), project, picture.stored_bytes)
        return dataset, None

    def _check_budgets(self, usage: ProjectUsage, project: str, size: int) -> None:
        self._budgets.check(project, IMAGES, usage.images, field="header.parent")
        self._budgets.check(project, STORED_BYTES, usage.stored_bytes, wanted=max(1, size), field="header.parent")

    async def _check_place(self, view: DatasetReader, dataset: Dataset, sha256: str) -> None:
        same = await view.image_with_bytes(dataset.ref, sha256) if sha256 else None
        if same is not None:
            raise AlreadyExists(
                f"The dataset already holds this picture, as {same.picture.file_name}",
                field="chunk",
                reason="IMAGE_DUPLICATE",
                remedy="Use the existing image; to give it more weight, raise its repeats.",
                metadata={"image": same.ref.name, "file_name": same.picture.file_name},
            )
        if dataset.image_count >= self._limits.max_images:
            raise ResourceExhausted(
                f"The dataset holds {dataset.image_count} images, and {self._limits.max_images} is the limit",
                field="header.parent",
                reason="DATASET_FULL",
                remedy="Delete images that add nothing, or start another dataset.",
                metadata={"limit": str(self._limits.max_images)},
            )

    def _too_large(self, field: str, size: str = "") -> InvalidArgument:
        limit = self._limits.max_image_bytes
        return InvalidArgument(
            f"The picture has more than {limit} bytes{size}",
            field=field,
            reason="IMAGE_TOO_LARGE",
            remedy=f"Save it smaller than {limit / 1024 / 1024:g} MiB, for example as a JPEG.",
            metadata={"limit_bytes": str(limit)},
        )


def _request_key(header: UploadHeader, sha256: str) -> RequestKey:
    parts: tuple[object, ...] = (header.dataset, header.file_name, header.caption, header.tags, sha256)
    if header.num_repeats or header.crop:
        parts += (header.num_repeats, header.crop)
    content = digest(parts)
    return RequestKey(header.dataset.project, "UploadImage", header.request_id, content)


def _picture(ref: ImageRef, file_name: str, checked: CheckedPicture, *, size_bytes: int) -> Picture:
    folder = f"datasets/{ref.dataset.project}/{ref.dataset.dataset}"
    # The digest says what the bytes are; the image's id makes the key this upload's own.
    return Picture(
        file_name=file_name,
        content_type=checked.info.content_type,
        width=checked.info.width,
        height=checked.info.height,
        size_bytes=size_bytes,
        sha256=checked.sha256,
        original_key=f"{folder}/originals/{checked.sha256}/{ref.image}",
        thumbnail_key=f"{folder}/thumbnails/{checked.sha256}/{ref.image}",
        thumbnail_bytes=len(checked.thumbnail),
    )


def _incomplete(what: str) -> InvalidArgument:
    return InvalidArgument(
        f"The stream did not carry the announced picture: {what}",
        field="header.size_bytes",
        reason="IMAGE_INCOMPLETE",
        remedy="Upload the whole picture again.",
    )
