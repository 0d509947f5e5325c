"""What a training will read of each picture, and which of caption and tags counts."""

from __future__ import annotations

from collections.abc import Sequence

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.sync.calls import pages
from fiveshot.words import TEXT_FROM

from gateway.cli import output
from gateway.cli.session import Session

# Facts of a picture that its owner should look at.
_FAULTS = ("low resolution", "blurry", "underexposed", "overexposed", "blank")


_CAPTION, _TAGS = TEXT_FROM["caption"], TEXT_FROM["tags"]
_OR, _BOTH = TEXT_FROM["caption-or-tags"], TEXT_FROM["caption-and-tags"]


def source_of(image: dataset_pb2.Image, text_from: int = _OR) -> str:
    """Where the text of a picture comes from: `caption`, `tags`, `caption, tags`, `dataset` (its words alone), or
    `nothing`."""
    caption = "caption" if image.caption and text_from != _TAGS else ""
    takes_tags = text_from in (_TAGS, _BOTH) or (text_from != _CAPTION and not caption)
    tags = "tags" if image.tags and takes_tags else ""
    own = ", ".join(part for part in (caption, tags) if part)
    return own or ("dataset" if image.training_text else "nothing")


def show_texts(session: Session, dataset: str) -> None:
    """Prints the text that each picture of a dataset (full name) is trained with."""
    request = pb.ListImagesRequest(parent=dataset)
    images = list(pages(session.dataset.ListImages, request, "images", 0))
    text_from = session.dataset.GetDataset(pb.GetDatasetRequest(name=dataset)).text_from
    sources = [source_of(each, text_from) for each in images]
    if session.json:
        facts = [
            {"image": each.name, "fileName": each.file_name, "source": source, "text": each.training_text}
            for each, source in zip(images, sources, strict=True)
        ]
        output.print_json({"texts": facts})
        return
    rows = ((each.file_name, source, each.training_text) for each, source in zip(images, sources, strict=True))
    output.table(("file", "from", "text that is trained"), rows)
    tell_competition(session, images, text_from)
    silent = [each.file_name for each in images if not each.training_text]
    if silent:
        output.say(f"{len(silent)} without any text: {', '.join(silent[:5])}{' …' if len(silent) > 5 else ''}.")
        output.next_step(session, f"fiveshot dataset tag {output.short(dataset)}")


def tell_faults(session: Session, images: Sequence[dataset_pb2.Image]) -> None:
    """Names the pictures whose pixels say that a training will learn little good from them."""
    if session.json:
        return
    for fault in _FAULTS:
        names = [each.file_name for each in images if fault in each.facts]
        if names:
            output.note(f"{len(names)} {fault}: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}.")
    tell_bars(images)


def tell_bars(images: Sequence[dataset_pb2.Image]) -> None:
    """Names the pictures whose bars a training would learn, and the command that cuts them."""
    names = [each.file_name for each in images if each.HasField("content_area") and not each.HasField("crop")]
    if names:
        dataset = images[0].name.split("/")[3]
        have = "1 has" if len(names) == 1 else f"{len(names)} have"
        shown = f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        output.note(f"{have} bars or a border: {shown}. Cut them: fiveshot dataset crop {dataset} --auto")


def tell_competition(session: Session, images: Sequence[dataset_pb2.Image], text_from: int | None = None) -> None:
    """Says which counts where a caption and tags stand on one picture, and how to choose otherwise.

    text_from: of their dataset, None reads it where it matters.
    """
    both = [each for each in images if each.caption and each.tags]
    if session.json or not both:
        return
    dataset = both[0].name.partition("/images/")[0]
    if text_from is None:
        text_from = session.dataset.GetDataset(pb.GetDatasetRequest(name=dataset)).text_from
    if text_from == _BOTH:
        return
    count = "1 picture has" if len(both) == 1 else f"{len(both)} pictures have"
    trained, not_trained = ("tags are", "caption is") if text_from == _TAGS else ("caption is", "tags are")
    other = "caption" if text_from == _TAGS else "tags"
    output.note(
        f"{count} a caption and tags: the {trained} trained, the {not_trained} not. To train both:"
        f" fiveshot dataset update {output.short(dataset)} --text-from caption-and-tags;"
        f" the {other} alone: --text-from {other}"
    )
