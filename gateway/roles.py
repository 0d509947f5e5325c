"""What a caller may do: three roles, and the least role of every public method in one table.

A role includes those before it. Which projects a caller may touch is another question, answered by its key or token.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import unquote

from gateway.http_rules import HttpRule
from services.chassis.errors import PermissionDenied


class Role(StrEnum):
    """reader: looks and downloads. editor: makes, changes and deletes. admin: what concerns others, too."""

    READER = "reader"
    EDITOR = "editor"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether this role may do what the other may."""
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER = tuple(Role)
_READER, _EDITOR = Role.READER, Role.EDITOR
# A method that only calculates, such as an estimate, is a reader's as long as it keeps nothing.
_METHODS = {
    "fiveshot.dataset.v1.DatasetService": {
        "ListProjects": _READER,
        "CreateDataset": _EDITOR,
        "GetDataset": _READER,
        "ListDatasets": _READER,
        "UpdateDataset": _EDITOR,
        "DeleteDataset": _EDITOR,
        "UploadImage": _EDITOR,
        "UploadImageContent": _EDITOR,
        "ImportImages": _EDITOR,
        "CreateImageUploads": _EDITOR,
        "CompleteImageUploads": _EDITOR,
        "GetImage": _READER,
        "ListImages": _READER,
        "UpdateImage": _EDITOR,
        "DeleteImage": _EDITOR,
        "DownloadImage": _READER,
        "GetImageContent": _READER,
        "GetImageDownloadUrl": _READER,
        "BatchGetImages": _READER,
        "BatchUpdateImages": _EDITOR,
        "BatchDeleteImages": _EDITOR,
        "UploadImageMask": _EDITOR,
        "BatchSetImageMasks": _EDITOR,
        "ListEdits": _READER,
        "UndoEdit": _EDITOR,
        "EditTags": _EDITOR,
        "ListTagStats": _READER,
        "CreateDatasetVersion": _EDITOR,
        "GetDatasetVersion": _READER,
        "ExportDatasetVersion": _READER,
        "UpdateDatasetVersion": _EDITOR,
        "DeleteDatasetVersion": _EDITOR,
        "ListDatasetVersions": _READER,
        "ListDatasetVersionImages": _READER,
        "GetUsage": _READER,
    },
    "fiveshot.tagger.v1.TaggerService": {
        "ListTaggers": _READER,
        "TagImages": _EDITOR,
        "GetTagJob": _READER,
        "ListTagJobs": _READER,
        "WatchTagJob": _READER,
        "CancelTagJob": _EDITOR,
        "RetryTagJob": _EDITOR,
        "DeleteTagJob": _EDITOR,
        "TagImage": _READER,
        "SuggestSubject": _READER,
        "SuggestCrops": _READER,
        "CropImages": _EDITOR,
        "SuggestMasks": _READER,
    },
    "fiveshot.trainer.v1.TrainingService": {
        "ListBaseModels": _READER,
        "ListOwnBaseModels": _READER,
        "GetBaseModel": _READER,
        "CreateBaseModel": _EDITOR,
        "UploadBaseModel": _EDITOR,
        "UpdateBaseModel": _EDITOR,
        "DeleteBaseModel": _EDITOR,
        "EstimateTrainingJob": _READER,
        "PreviewTraining": _READER,
        "AuditDataset": _READER,
        "CreateTrainingJob": _EDITOR,
        "GetTrainingJob": _READER,
        "ListTrainingJobs": _READER,
        "CancelTrainingJob": _EDITOR,
        "PauseTrainingJob": _EDITOR,
        "ResumeTrainingJob": _EDITOR,
        "StopTrainingJob": _EDITOR,
        "RetryTrainingJob": _EDITOR,
        "ExtendTrainingJob": _EDITOR,
        "UpdateTrainingJob": _EDITOR,
        "DeleteTrainingJob": _EDITOR,
        "UpdateEpoch": _EDITOR,
        "DeleteEpoch": _EDITOR,
        "CleanUpTrainingJobs": _EDITOR,
        # Of all projects, to which the service asks for access.
        "ListWorkers": _READER,
        "GetTrainingQueue": _READER,
        "WatchTrainingJob": _READER,
        "ListMetrics": _READER,
        "GetEpoch": _READER,
        "ListEpochs": _READER,
        "DownloadEpochFile": _READER,
        "GetEpochFileContent": _READER,
        "RequestPreviews": _EDITOR,
        "GetPreviewRequest": _READER,
        "ListPreviewRequests": _READER,
        "WatchPreviewRequest": _READER,
        "CancelPreviewRequest": _EDITOR,
        "DeletePreviewRequest": _EDITOR,
        "DownloadPreviewFile": _READER,
        "GetPreviewFileContent": _READER,
        "GetUsage": _READER,
    },
    "fiveshot.registry.v1.RegistryService": {
        "CreateModel": _EDITOR,
        "GetModel": _READER,
        "ListModels": _READER,
        "UpdateModel": _EDITOR,
        "DeleteModel": _EDITOR,
        "SaveEpoch": _EDITOR,
        "ImportModelVersion": _EDITOR,
        "GetModelVersion": _READER,
        "ListModelVersions": _READER,
        "UpdateModelVersion": _EDITOR,
        "DownloadModelVersion": _READER,
        "GetModelFileContent": _READER,
        "DeleteModelVersion": _EDITOR,
        "SetModelAlias": _EDITOR,
        "DeleteModelAlias": _EDITOR,
        "GetUsage": _READER,
    },
    # An editor may read and pass on all that a webhook carries, and where its requests may go is the operator's to say,
    # whoever asks. No method needs an admin: a path that cannot be read for certain would then need one, too.
    "fiveshot.notifier.v1.NotifierService": {
        "CreateWebhook": _EDITOR,
        "GetWebhook": _READER,
        "ListWebhooks": _READER,
        "UpdateWebhook": _EDITOR,
        "DeleteWebhook": _EDITOR,
        "RotateWebhookSecret": _EDITOR,
        "TestWebhook": _EDITOR,
        "GetWebhookDelivery": _READER,
        "ListWebhookDeliveries": _READER,
        "RedeliverWebhookDelivery": _EDITOR,
        "GetUsage": _READER,
    },
    "fiveshot.audit.v1.AuditService": {
        "ListAuditRecords": Role.ADMIN,
    },
}
SERVICES = tuple(_METHODS)
LEAST_ROLE = {f"{service}.{name}": role for service, methods in _METHODS.items() for name, role in methods.items()}
"""By full name of the method, as in its proto."""

_REFLECTION = ("/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/")


def reading_methods(service: str) -> tuple[str, ...]:
    """Methods of a service that change nothing, by their own names: such a call may be made twice."""
    methods = _METHODS[service].items()
    return tuple(name for name, role in methods if role is Role.READER or name.startswith(("Get", "List")))


def parse(text: str) -> Role:
    """The role of this name. Raises ValueError."""
    try:
        return Role(text)
    except ValueError:
        raise ValueError(f"role: '{text}' is none of {', '.join(Role)}") from None


class RoleCheck:
    """Which role a call needs, by its verb and path: those of gRPC, or of a JSON call before it is transcoded."""

    def __init__(self, rules: Iterable[HttpRule]) -> None:
        self._rules: dict[str, list[HttpRule]] = defaultdict(list)
        for rule in rules:
            self._rules[rule.verb].append(rule)

    def require(self, role: Role, verb: str, path: str) -> None:
        """Raises PermissionDenied(reason=ROLE_TOO_LOW) unless the role suffices."""
        needed = self.needed(verb, path)
        if not role.includes(needed):
            raise PermissionDenied(
                f"This call needs the role '{needed}'; the caller's is '{role}'",
                reason="ROLE_TOO_LOW",
                remedy=f"Use a key or token with the role '{needed}'.",
                metadata={"role": role, "needed": needed},
            )

    def needed(self, verb: str, path: str) -> Role:
        """The least role of the methods that the call may mean. A path that means none needs what its verb may need."""
        path = path.partition("?")[0]
        if verb == "POST" and (known := LEAST_ROLE.get(path.removeprefix("/").replace("/", "."))):
            return known
        if path.startswith(_REFLECTION):
            return Role.READER
        rules = self._rules[verb]
        # An escaped character may be read otherwise by the transcoder than here.
        meant = [] if "%" in path else [rule for rule in rules if rule.pattern.fullmatch(path)]
        # A method without a row, which a test forbids, is nobody's by accident.
        found = [(LEAST_ROLE.get(rule.method.full_name, Role.ADMIN), rule) for rule in meant or rules]
        plain = unquote(unquote(path))
        # What an admin may do is not meant by a path that leads elsewhere however it is read.
        roles = [role for role, rule in found if role != Role.ADMIN or rule.pattern.fullmatch(plain)]
        return max(roles, key=_ORDER.index, default=Role.READER)
