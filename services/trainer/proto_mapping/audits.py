"""Audits, with the request that mends a finding packed as it is sent."""

from __future__ import annotations

from collections.abc import Mapping

from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.trainer.v1 import audit_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from services.chassis.names import project_of
from services.trainer.models import audit
from services.trainer.models.audit import Audit, Finding, Severity, Verdict

_Data, _Tagger = dataset_service_pb2, tagger_service_pb2
_DATASET, _TAGGER = "fiveshot.dataset.v1.DatasetService", "fiveshot.tagger.v1.TaggerService"
# One call takes no more.
_MOST, _MOST_EDITS, _MOST_CROPPED = 100, 50, 50
_VERDICTS = {
    Verdict.READY: audit_pb2.DatasetAudit.VERDICT_READY,
    Verdict.NEEDS_ATTENTION: audit_pb2.DatasetAudit.VERDICT_NEEDS_ATTENTION,
    Verdict.BLOCKED: audit_pb2.DatasetAudit.VERDICT_BLOCKED,
}
_SEVERITIES = {
    Severity.NOTICE: audit_pb2.AuditFinding.SEVERITY_NOTICE,
    Severity.ATTENTION: audit_pb2.AuditFinding.SEVERITY_ATTENTION,
    Severity.BLOCKING: audit_pb2.AuditFinding.SEVERITY_BLOCKING,
}


def audit_to_proto(found: Audit) -> audit_pb2.DatasetAudit:
    """An audit."""
    return audit_pb2.DatasetAudit(
        dataset=found.dataset,
        verdict=_VERDICTS[found.verdict],
        image_count=found.image_count,
        findings=[_finding(found.dataset, each) for each in found.findings],
    )


def _finding(dataset: str, finding: Finding) -> audit_pb2.AuditFinding:
    message = audit_pb2.AuditFinding(
        kind=finding.kind,
        severity=_SEVERITIES[finding.severity],
        images=finding.images,
        message=finding.message,
        remedy=finding.remedy,
    )
    # What a frozen version holds cannot be mended.
    if finding.fix is not None and not any("/versions/" in name for name in finding.images):
        method, request = _call(dataset, finding.fix)
        message.fix.method = method
        message.fix.request.Pack(request)
    return message


def _call(dataset: str, fix: audit.Fix) -> tuple[str, Message]:
    match fix:
        case audit.DeleteImages(images):
            deletes = [_Data.DeleteImageRequest(name=name) for name in images[:_MOST]]
            return f"{_DATASET}/BatchDeleteImages", _Data.BatchDeleteImagesRequest(parent=dataset, requests=deletes)
        case audit.SetCrops(crops):
            cropped = [
                dataset_pb2.Image(name=name, crop=dataset_pb2.Crop(left=left, top=top, right=right, bottom=bottom))
                for name, (left, top, right, bottom) in crops
            ]
            return _updates(dataset, cropped, "crop")
        case audit.CropToSubjects(images, shapes):
            asked = [tagger_pb2.CropShape(width=width, height=height) for width, height in shapes]
            crop = _Tagger.CropImagesRequest(dataset=dataset, images=images[:_MOST_CROPPED], shapes=asked)
            return f"{_TAGGER}/CropImages", crop
        case audit.ShortenTexts(captions, tags):
            return _shorter(dataset, captions, tags)
        case audit.CountBoth():
            counted = dataset_pb2.Dataset(name=dataset, text_from=dataset_pb2.TEXT_FROM_CAPTION_OR_TAGS)
            return f"{_DATASET}/UpdateDataset", _Data.UpdateDatasetRequest(
                dataset=counted, update_mask=FieldMask(paths=["text_from"])
            )
        case audit.RemoveTags(labels):
            edits = [_Data.TagEdit(remove=label) for label in labels[:_MOST_EDITS]]
            return f"{_DATASET}/EditTags", _Data.EditTagsRequest(parent=dataset, edits=edits)
        case audit.SetTriggerWord(word):
            changed = dataset_pb2.Dataset(name=dataset, trigger_word=word)
            update = _Data.UpdateDatasetRequest(dataset=changed, update_mask=FieldMask(paths=["trigger_word"]))
            return f"{_DATASET}/UpdateDataset", update
        case audit.TagPictures():
            options = tagger_pb2.TagOptions(mode=tagger_pb2.TAG_MODE_SKIP)
            parent = f"projects/{project_of(dataset)}"
            return f"{_TAGGER}/TagImages", _Tagger.TagImagesRequest(parent=parent, dataset=dataset, options=options)


def _updates(dataset: str, images: list[dataset_pb2.Image], path: str) -> tuple[str, Message]:
    requests = [_Data.UpdateImageRequest(image=image, update_mask=FieldMask(paths=[path])) for image in images[:_MOST]]
    return f"{_DATASET}/BatchUpdateImages", _Data.BatchUpdateImagesRequest(parent=dataset, requests=requests)


def _shorter(dataset: str, captions: Mapping[str, str], tags: Mapping[str, tuple[bytes, ...]]) -> tuple[str, Message]:
    requests = []
    for name in list(dict.fromkeys((*captions, *tags)))[:_MOST]:
        image = dataset_pb2.Image(
            name=name, caption=captions.get(name, ""), tags=map(dataset_pb2.Tag.FromString, tags.get(name, ()))
        )
        paths = [path for path, changed in (("caption", captions), ("tags", tags)) if name in changed]
        requests.append(_Data.UpdateImageRequest(image=image, update_mask=FieldMask(paths=paths)))
    return f"{_DATASET}/BatchUpdateImages", _Data.BatchUpdateImagesRequest(parent=dataset, requests=requests)
