"""Resource names of this service as values.

A frozen version is counted, so its last id is a number; all other ids are the letters-and-hyphens ids of the suite.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.chassis.errors import InvalidArgument
from services.chassis.names import ResourceName

_PROJECT = ResourceName("projects/{project}")
_DATASET = ResourceName("projects/{project}/datasets/{dataset}")
_IMAGE = ResourceName("projects/{project}/datasets/{dataset}/images/{image}")
_VERSION = re.compile(r"(?P<dataset>projects/[^/]+/datasets/[^/]+)/versions/(?P<number>[1-9][0-9]{0,8})(?P<rest>/.+)?")
_EDIT = re.compile(r"(?P<dataset>projects/[^/]+/datasets/[^/]+)/edits/(?P<number>[1-9][0-9]{0,8})")


@dataclass(frozen=True)
class DatasetRef:
    """`projects/{project}/datasets/{dataset}`."""

    project: str
    dataset: str

    @classmethod
    def parse(cls, name: str, *, field: str = "name") -> DatasetRef:
        """Raises InvalidArgument(reason=NAME_INVALID)."""
        return cls(**_DATASET.parse(name, field=field))

    @property
    def name(self) -> str:
        """The resource name."""
        return _DATASET.format(project=self.project, dataset=self.dataset)


@dataclass(frozen=True)
class ImageRef:
    """`projects/{project}/datasets/{dataset}/images/{image}`."""

    dataset: DatasetRef
    image: str

    @classmethod
    def parse(cls, name: str, *, field: str = "name") -> ImageRef:
        """Raises InvalidArgument(reason=NAME_INVALID)."""
        ids = _IMAGE.parse(name, field=field)
        return cls(DatasetRef(ids["project"], ids["dataset"]), ids["image"])

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.dataset.name}/images/{self.image}"


@dataclass(frozen=True)
class VersionRef:
    """`projects/{project}/datasets/{dataset}/versions/{number}`."""

    dataset: DatasetRef
    number: int

    @classmethod
    def parse(cls, name: str, *, field: str = "name") -> VersionRef:
        """Raises InvalidArgument(reason=NAME_INVALID)."""
        match = _VERSION.fullmatch(name)
        if match is None or match["rest"]:
            raise _invalid(name, field, "projects/{project}/datasets/{dataset}/versions/{version}")
        return cls(DatasetRef.parse(match["dataset"], field=field), int(match["number"]))

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.dataset.name}/versions/{self.number}"


@dataclass(frozen=True)
class VersionImageRef:
    """`projects/{project}/datasets/{dataset}/versions/{number}/images/{image}`."""

    version: VersionRef
    image: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.version.name}/images/{self.image}"


@dataclass(frozen=True)
class EditRef:
    """`projects/{project}/datasets/{dataset}/edits/{number}`."""

    dataset: DatasetRef
    number: int

    @classmethod
    def parse(cls, name: str, *, field: str = "name") -> EditRef:
        """Raises InvalidArgument(reason=NAME_INVALID)."""
        match = _EDIT.fullmatch(name)
        if match is None:
            raise _invalid(name, field, "projects/{project}/datasets/{dataset}/edits/{edit}")
        return cls(DatasetRef.parse(match["dataset"], field=field), int(match["number"]))

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.dataset.name}/edits/{self.number}"


def parse_project(name: str, *, field: str = "parent") -> str:
    """The id in `projects/{project}`. Raises InvalidArgument(reason=NAME_INVALID)."""
    return _PROJECT.parse(name, field=field)["project"]


def parse_picture(name: str, *, field: str = "name") -> ImageRef | VersionImageRef:
    """The name of an image, or of an image as a version pinned it. Raises InvalidArgument(reason=NAME_INVALID)."""
    match = _VERSION.fullmatch(name)
    if match is None or not match["rest"]:
        return ImageRef.parse(name, field=field)
    image = ImageRef.parse(f"{match['dataset']}{match['rest']}", field=field)
    return VersionImageRef(VersionRef(image.dataset, int(match["number"])), image.image)


def _invalid(name: str, field: str, pattern: str) -> InvalidArgument:
    return InvalidArgument(
        f"'{name[:200]}' is not a name of the form {pattern}",
        field=field,
        reason="NAME_INVALID",
        remedy="Copy the name from the answer that made or listed it.",
    )
