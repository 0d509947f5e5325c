"""What the use cases need from outside, with the lifecycle and the errors that every implementation owes.

Lifecycle of a picture's bytes: `reserve_keys` notes the keys in a transaction of its own → the bytes are put → the
transaction that adds the image calls `keep_keys`. When that never happens, `claim_keys` hands the noted keys out for
deletion, at once or after the reservation has run out. Deleting works the same way: the transaction that removes the
last reference calls `release_keys`. So no crash between the database and the object store leaves bytes that nobody
knows, and none takes away bytes that someone needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol

from services.chassis.listing.fields import moment, text, text_map
from services.chassis.listing.pages import Listing, Order, Query
from services.chassis.pictures import Decoded, PictureLimits
from services.chassis.requests.keys import RequestKey
from services.dataset.models.edits import Edit, ImageChange
from services.dataset.models.events import DatasetEvent
from services.dataset.models.names import DatasetRef, EditRef, ImageRef, VersionImageRef, VersionRef
from services.dataset.models.resources import Dataset, DatasetVersion, Image, Mask, VersionImage
from services.dataset.models.usage import ProjectUsage


def _dataset_value(dataset: Dataset, name: str) -> Any:
    match name:
        case "dataset_id":
            return dataset.ref.dataset
        case "create_time" | "update_time":
            return getattr(dataset, name)
        case _:
            return getattr(dataset.fields, name)


DATASETS: Listing[Dataset] = Listing(
    "ListDatasets",
    fields={
        "display_name": text(fold=str.casefold),
        "trigger_word": text(),
        "subject": text(),
        "labels": text_map(),
        "create_time": moment(),
        "update_time": moment(),
    },
    sortable={"create_time": datetime, "update_time": datetime, "display_name": str},
    key=("dataset_id", str),
    default_order=[Order("create_time", descending=True)],
    read=_dataset_value,
)
VERSIONS: Listing[DatasetVersion] = Listing(
    "ListDatasetVersions",
    fields={"labels": text_map(), "create_time": moment()},
    sortable={"create_time": datetime},
    key=("number", int),
    default_order=[Order("number", descending=True)],
    read=lambda version, name: version.ref.number if name == "number" else getattr(version, name),
)
VERSION_IMAGES: Listing[VersionImage] = Listing(
    "ListDatasetVersionImages",
    sortable={"file_name": str},
    key=("position", int),
    read=lambda image, name: image.position if name == "position" else getattr(image.picture, name),
    default_size=100,
)


class DatasetReader(Protocol):
    """One consistent view of the store. What is not there raises NotFound with reason RESOURCE_NOT_FOUND."""

    async def dataset(self, ref: DatasetRef) -> Dataset:
        """One dataset. Raises NotFound."""

    async def has_dataset(self, ref: DatasetRef) -> bool:
        """Whether the name is taken."""

    async def projects(self) -> dict[str, int]:
        """How many datasets each project holds that holds any."""

    async def datasets(self, project: str, query: Query) -> tuple[list[Dataset], int]:
        """A page of a project's datasets (see `DATASETS`), and how many match in all."""

    async def image(self, ref: ImageRef) -> Image:
        """One image. Raises NotFound."""

    async def images(self, ref: DatasetRef) -> list[Image]:
        """All images of a dataset in upload order; empty when there are none. A dataset is small by its limits."""

    async def image_with_bytes(self, ref: DatasetRef, sha256: str) -> Image | None:
        """The image of the dataset whose original has this digest."""

    async def version(self, ref: VersionRef) -> DatasetVersion:
        """One version. Raises NotFound."""

    async def versions(self, ref: DatasetRef, query: Query) -> tuple[list[DatasetVersion], int]:
        """A page of the dataset's versions (see `VERSIONS`), and how many match in all."""

    async def count_versions(self, ref: DatasetRef) -> int:
        """How many versions the dataset has."""

    async def version_like(self, version: DatasetVersion) -> DatasetVersion | None:
        """The newest version of its dataset with the same contents, trigger word, subject and text_from."""

    async def version_image(self, ref: VersionImageRef) -> VersionImage:
        """One image of a version. Raises NotFound."""

    async def version_images(self, ref: VersionRef, query: Query) -> list[VersionImage]:
        """A page of the version's images (see `VERSION_IMAGES`)."""

    async def edits(self, ref: DatasetRef) -> list[Edit]:
        """The edits that are kept, newest first."""

    async def newest_edit(self, ref: DatasetRef) -> Edit | None:
        """The last of them, which is never thinned out."""

    async def edit(self, ref: EditRef) -> Edit:
        """One edit. Raises NotFound."""

    async def changes(self, ref: EditRef) -> list[ImageChange]:
        """What an edit changed of the images that are still there."""

    async def usage(self, project: str) -> ProjectUsage:
        """What a project uses now."""

    async def request_is_known(self, key: RequestKey) -> bool:
        """Whether a create with this request_id has succeeded, whatever its digest."""


class DatasetWriter(DatasetReader, Protocol):
    """A write transaction: it sees its own changes, and all of them become visible at its end or none."""

    async def lock_dataset(self, ref: DatasetRef) -> Dataset:
        """The dataset, which no other transaction changes until this one ends. Call it before any change below.

        Raises NotFound.
        """

    async def lock_usage(self, project: str) -> ProjectUsage:
        """What a project uses, which no other transaction changes until this one ends. Lock the dataset first."""

    async def tell(self, ref: DatasetRef, event: DatasetEvent) -> None:
        """Adds an event of a locked dataset to the log. What became of its images before is told first."""

    async def add_dataset(self, dataset: Dataset) -> None:
        """Raises AlreadyExists(reason=DATASET_EXISTS) when the name is taken; the transaction is then lost."""

    async def save_dataset(self, dataset: Dataset) -> None:
        """Writes a locked dataset's new state."""

    async def remove_dataset(self, ref: DatasetRef) -> None:
        """Removes the dataset, its images and its versions, releases all their keys, and tells that it is gone."""

    async def add_image(self, image: Image) -> None:
        """Adds an image to a locked dataset that does not hold these bytes yet. What this and the two below do is told
        with others of the same seconds."""

    async def save_image(self, image: Image) -> None:
        """Writes an image's new state."""

    async def keep_mask(self, ref: DatasetRef, mask: Mask) -> None:
        """Ends the reservation of a mask's key, as `keep_keys` does; an image that is saved next refers to it.

        It is released when neither an image nor a version nor a change of an edit refers to it any more.
        """

    async def add_edit(self, edit: Edit) -> None:
        """Adds an edit with the number after the newest."""

    async def save_edit(self, edit: Edit) -> None:
        """Writes an edit that goes on."""

    async def mark_undone(self, ref: EditRef, by: int) -> None:
        """Notes which edit took this one back."""

    async def add_changes(self, ref: EditRef, changes: Sequence[ImageChange]) -> None:
        """Adds changes of images that the edit has none of yet."""

    async def thin_edits(self, ref: DatasetRef, *, keep: int) -> None:
        """Leaves the newest edits of several images and the newest of one, `keep` of each, and releases masks."""

    async def remove_image(self, image: Image) -> None:
        """Removes the image and its changes, and releases its keys unless a version has pinned it."""

    async def add_version(self, version: DatasetVersion, images: Sequence[VersionImage]) -> None:
        """Adds a version with its images."""

    async def label_version(self, ref: VersionRef, labels: Mapping[str, str]) -> None:
        """Gives a version of a locked dataset other labels."""

    async def remove_version(self, ref: VersionRef) -> None:
        """Removes the version, and releases the keys of its images that neither the dataset nor a version holds."""

    async def recall(self, key: RequestKey) -> str | None:
        """The name of what this request made before. Equal requests at the same moment take turns here.

        Raises InvalidArgument(reason=REQUEST_ID_REUSED) when the request_id was used for something else.
        """

    async def remember(self, key: RequestKey, name: str) -> None:
        """Notes what the request made; does nothing without a request_id."""

    async def reserve_keys(self, keys: Sequence[str], *, until: datetime) -> None:
        """Notes keys that are about to be written."""

    async def keep_keys(self, keys: Sequence[str]) -> None:
        """Ends the reservation because the keys are referred to from now on.

        Raises Aborted(reason=UPLOAD_TOO_SLOW) when one was claimed meanwhile.
        """


class Meter(Protocol):
    """Usage that was told as events, once for each project and hour. Raises Unavailable."""

    async def due(self, hour: datetime) -> Sequence[str]:
        """Projects whose usage of this hour has not been told."""

    async def meter(self, project: str, hour: datetime) -> ProjectUsage:
        """Tells the usage of this hour, unless that has been done or the project stores nothing; returns it as it was
        counted anew."""

    async def forget(self, before: datetime) -> int:
        """Removes events that are older and were published; returns how many."""


class DatasetStore(Protocol):
    """Datasets, images, versions and the notes about their bytes. Raises Unavailable when it cannot be reached."""

    def read(self) -> AbstractAsyncContextManager[DatasetReader]:
        """A view that does not change inside the block and blocks nobody."""

    def write(self) -> AbstractAsyncContextManager[DatasetWriter]:
        """A transaction: commits at the end of the block, leaves no trace when the block raises."""

    async def tell_images(self, *, quiet: timedelta, longest: timedelta) -> int:
        """Tells of the images of datasets in which no image has changed for so long, or of which a change has waited
        the longest; returns how many events that were."""

    async def claim_keys(self, *, due: datetime, keys: Sequence[str] | None = None, limit: int = 500) -> list[str]:
        """Takes keys for deletion that are released, or reserved until before `due`; of `keys` only, when given,
        and of these also those whose reservation runs. Keys claimed earlier and not forgotten come again."""

    async def forget_keys(self, keys: Sequence[str]) -> None:
        """Drops claimed keys whose bytes are gone."""

    async def forget_requests(self, *, before: datetime) -> int:
        """Drops remembered creates made before that moment; returns how many."""


class PictureStore(Protocol):
    """Bytes under keys. Raises Unavailable when it cannot be reached."""

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """Stores the bytes, whole or not at all."""

    async def address_to_put(self, key: str, validity: timedelta) -> str:
        """A URL that takes the bytes of this key until it expires."""

    async def address_to_get(self, key: str, validity: timedelta, *, file_name: str) -> str:
        """A URL that serves the bytes of this key until it expires, in ranges too."""

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """The bytes in chunks of at most 256 KiB. Raises NotFound at the first chunk."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Removes the bytes; absent keys are fine."""


class Clock(Protocol):
    """The time, so that tests can set it."""

    def __call__(self) -> datetime:
        """Now, aware, in UTC."""


class PictureDecoder(Protocol):
    """Decodes pictures of strangers where they can do no harm. Cancelling a call ends its decoding."""

    async def read(
        self,
        data: bytes,
        limits: PictureLimits,
        *,
        draft_side: int,
        most_pixels: int,
        keep_alpha: bool = False,
        field: str,
        owner: str,
    ) -> Decoded:
        """Decodes every pixel and hands over a reduced picture, as `pictures.read` says.

        owner: the project; projects take turns. Raises InvalidArgument with the reasons of `pictures.inspect`, and
        Unavailable.
        """
