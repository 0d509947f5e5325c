# Made of fiveshot/aio/edits.py by tools/sync_client.py; change that file.
"""What is changed on many photos of a dataset at once, and taken back."""

from __future__ import annotations

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.errors import FiveshotError, NotFound, from_status
from fiveshot.records import DatasetRecord
from fiveshot.sync.calls import Listing, Stubs
from fiveshot.sync.images import Image
from fiveshot.tagger.v1 import tagger_service_pb2 as tagger_api
from google.protobuf.field_mask_pb2 import FieldMask

MAX_BATCH = 100
_MAX_BATCH_BYTES = 4 << 20


class EditedDataset(DatasetRecord):
    """The part of `Dataset` that edits photos."""

    def __init__(self, stubs: Stubs, message: dataset_pb2.Dataset) -> None:
        super().__init__(message)
        self._stubs = stubs

    @property
    def images(self) -> Listing[Image]:
        """Its photos, in order."""
        return self.find_images()

    def find_images(self, filter: str = "", *, order_by: str = "") -> Listing[Image]:
        """Its photos that match an AIP-160 filter such as `tags:"hat"`."""
        request = pb.ListImagesRequest(parent=self.name, filter=filter, order_by=order_by)
        return Listing(self._stubs.dataset.ListImages, request, "images", lambda each: Image(self._stubs, each))

    def crop(self, *, auto: bool = True, filter: str = "") -> list[Image]:
        """Crops each photo, or those that match a filter, to its subject; auto=False takes crops away.

        Raises Aborted when somebody else changes one meanwhile, and, once all others are cropped, what was wrong with
        the first photo that could not be. Returns the changed ones.
        """
        wanted: list[dataset_pb2.Image] = []
        failures: list[FiveshotError] = []
        if auto:
            asked = tagger_api.SuggestCropsRequest(dataset=self.name, filter=filter)
            for each in self._stubs.tagger.SuggestCrops(asked):
                if each.HasField("error"):
                    failures.append(from_status(each.error))
                else:
                    crop = each.crop if each.HasField("crop") else None
                    wanted.append(dataset_pb2.Image(name=each.image, crop=crop, etag=each.etag))
        else:
            wanted = [dataset_pb2.Image(name=image.name) for image in self.find_images(filter)]
        changed: list[Image] = []
        for start in range(0, len(wanted), MAX_BATCH):
            requests = [
                pb.UpdateImageRequest(image=image, update_mask=FieldMask(paths=["crop"]))
                for image in wanted[start : start + MAX_BATCH]
            ]
            answer = self._stubs.dataset.BatchUpdateImages(
                pb.BatchUpdateImagesRequest(parent=self.name, requests=requests)
            )
            changed += [Image(self._stubs, image) for image in answer.images]
        if failures:
            raise failures[0]
        return changed

    def mask(self, *, auto: bool = True, filter: str = "", replace: bool = False) -> list[Image]:
        """Masks the subject of each photo, or of those that match a filter; auto=False takes masks away.

        replace: also of photos that have a mask. A photo in which nothing stands out stays as it is. Raises Aborted
        when somebody else changes one meanwhile, and, once all others are masked, what was wrong with the first photo
        that could not be. Returns the changed ones.
        """
        masked = not auto or replace
        photos = [each for each in self.find_images(filter) if masked or not each.message.HasField("mask")]
        failures: list[FiveshotError] = []
        wanted: list[pb.SetImageMaskRequest] = []
        if auto:
            names = [each.name for each in photos]
            for start in range(0, len(names), MAX_BATCH):
                asked = tagger_api.SuggestMasksRequest(dataset=self.name, images=names[start : start + MAX_BATCH])
                for each in self._stubs.tagger.SuggestMasks(asked):
                    if each.HasField("error"):
                        failures.append(from_status(each.error))
                    elif each.png:
                        wanted.append(
                            pb.SetImageMaskRequest(
                                name=each.image, png=each.png, etag=each.etag, tagger=each.tagger,
                                source=dataset_pb2.MASK_SOURCE_SUGGESTED,
                            )
                        )  # fmt: skip
        else:
            wanted = [
                pb.SetImageMaskRequest(name=each.name, etag=each.message.etag)
                for each in photos
                if each.message.HasField("mask")
            ]
        changed: list[Image] = []
        for batch in _batches(wanted):
            request = pb.BatchSetImageMasksRequest(parent=self.name, requests=batch)
            answer = self._stubs.dataset.BatchSetImageMasks(request)
            changed += [Image(self._stubs, image) for image in answer.images]
        if failures:
            raise failures[0]
        return changed

    def edits(self) -> list[dataset_pb2.Edit]:
        """What was changed on its photos and can be undone, newest first."""
        return list((self._stubs.dataset.ListEdits(pb.ListEditsRequest(parent=self.name))).edits)

    def undo(self, edit: str = "") -> dataset_pb2.Edit:
        """Takes back an edit by its name; the newest that stands when none is given, so that repeated calls go back
        step by step.

        Raises NotFound when there is none, and Aborted when what it changed was changed since.
        """
        if not edit:
            edit = next((each.name for each in self.edits() if not each.undone_by and not each.undoes), "")
        if not edit:
            raise NotFound(
                f"Nothing of {self.name} can be undone", reason="NOTHING_TO_UNDO",
                remedy="Deleted photos cannot be brought back; upload them again.",
            )  # fmt: skip
        return self._stubs.dataset.UndoEdit(pb.UndoEditRequest(name=edit))


def _batches(requests: list[pb.SetImageMaskRequest]) -> list[list[pb.SetImageMaskRequest]]:
    """As few calls as take them."""
    batches: list[list[pb.SetImageMaskRequest]] = []
    size = 0
    for each in requests:
        if not batches or len(batches[-1]) == MAX_BATCH or size + len(each.png) > _MAX_BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(each)
        size += len(each.png)
    return batches
