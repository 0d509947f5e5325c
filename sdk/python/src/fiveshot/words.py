"""The words by which both clients and the command line name the choices of tagging and of texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.errors import InvalidArgument
from fiveshot.tagger.v1 import tagger_pb2

V = TypeVar("V")

MODES = {
    "skip": tagger_pb2.TAG_MODE_SKIP,
    "append": tagger_pb2.TAG_MODE_APPEND,
    "overwrite-auto": tagger_pb2.TAG_MODE_OVERWRITE_AUTO,
}
PURPOSES = {
    "thing": tagger_pb2.CaptionOptions.PURPOSE_THING,
    "person": tagger_pb2.CaptionOptions.PURPOSE_PERSON,
    "style": tagger_pb2.CaptionOptions.PURPOSE_STYLE,
}
TEXT_FROM = {
    "caption-or-tags": dataset_pb2.TEXT_FROM_CAPTION_OR_TAGS,
    "caption": dataset_pb2.TEXT_FROM_CAPTION,
    "caption-and-tags": dataset_pb2.TEXT_FROM_CAPTION_AND_TAGS,
    "tags": dataset_pb2.TEXT_FROM_TAGS,
}


def chosen(values: Mapping[str, V], word: str, field: str) -> V:
    """What a word stands for. Raises InvalidArgument that lists the words there are."""
    if word not in values:
        raise InvalidArgument(f"'{word}' is not a {field}", field=field, remedy=f"Use one of {', '.join(values)}.")
    return values[word]


def several(texts: str | Iterable[str]) -> list[str]:
    """A list of texts; a single text is a list of one, never one of its letters."""
    return [texts] if isinstance(texts, str) else list(texts)


def labelled(labels: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Labels as they may be sent. Raises InvalidArgument that names what is no text; protobuf would name nothing."""
    if labels is None:
        return None
    if not isinstance(labels, Mapping):
        raise _no_labels(f"labels are given by name, not as {labels!r}", "labels")
    for name, value in labels.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise _no_labels(f"Names and values of labels are texts, not {name!r}: {value!r}", f"labels[{name}]")
    return labels


def _no_labels(message: str, field: str) -> InvalidArgument:
    return InvalidArgument(message, field=field, reason="LABELS_INVALID", remedy='Write {"name": "value"}.')
