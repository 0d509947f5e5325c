"""What a training will read of each picture, and which of caption and tags counts."""

from __future__ import annotations

from collections.abc import Sequence

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.sync.calls import pages

from gateway.cli import output
from gateway.cli.session import Session

# Facts of a picture that its owner should look at.
_FAULTS = ("low resolution", "blurry", "underexposed", "overexposed")


def source_of(image: dataset_pb2.Image) -> str:
    """Where the text of a picture comes from: `caption`, `tags`, `dataset` (its words alone), or `nothing`."""
    if image.caption or image.tags:
        return "caption" if image.caption else "tags"
    return "dataset" if image.training_text else "nothing"


def show_texts(session: Session, dataset: str) -> None:
    """Prints the text that each picture of a dataset (full name) is trained with."""
    request = pb.ListImagesRequest(parent=dataset)
    images = list(pages(session.dataset.ListImages, request, "images", 0))
    if session.json:
        facts = [
            {"image": each.name, "fileName": each.file_name, "source": source_of(each), "text": each.training_text}
            for each in images
        ]
        output.print_json({"texts": facts})
        return
    rows = ((each.file_name, source_of(each), each.training_text) for each in images)
    output.table(("file", "from", "text that is trained"), rows)
    tell_competition(session, images)
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


def tell_competition(session: Session, images: Sequence[dataset_pb2.Image]) -> None:
    """Says so where a caption and tags stand on one picture, since only one of them is trained."""
    both = [each for each in images if each.caption and each.tags]
    if session.json or not both:
        return
    count = "1 picture has" if len(both) == 1 else f"{len(both)} pictures have"
    dataset = both[0].name.split("/")[3]
    output.note(
        f"{count} a caption and tags: the caption is trained, the tags are not. To train the tags, take the caption"
        f" away: fiveshot dataset caption {dataset} {both[0].file_name} ''"
    )
