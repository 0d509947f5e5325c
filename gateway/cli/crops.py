"""`fiveshot dataset crop`: the part of a picture that is trained, found or given, seen before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.errors import InvalidArgument
from fiveshot.parameters import DEFAULT_BASE_MODEL
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.tagger.v1 import tagger_service_pb2 as tagger_api
from fiveshot.trainer.v1 import training_service_pb2 as trainer_api
from google.protobuf.field_mask_pb2 import FieldMask
from rich.progress import Progress

from gateway.cli import lookup, output
from gateway.cli.base_models import base_model_name
from gateway.cli.completion import base_models, image_files
from gateway.cli.dataset import PICTURES, Dataset, app
from gateway.cli.pictures import CELL
from gateway.cli.session import Session
from gateway.cli.sheets import Entry, check_sheet, draw_sheet, save_sheet

_BATCH = 100
_EACH_S = 30.0
WHOLE = dataset_pb2.Crop(left=0, top=0, right=1, bottom=1)
Images = Annotated[
    list[str] | None,
    typer.Argument(help="File names, ids or full names of pictures; all when left out.", autocompletion=image_files),
]


@app.command(rich_help_panel=PICTURES)
def crop(
    ctx: typer.Context,
    dataset: Dataset,
    images: Images = None,
    auto: Annotated[bool, typer.Option("--auto", help="Find the subject, cut bars; keeps crops that are set.")] = False,
    box: Annotated[str, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM in pixels, or in percent: 10%,0%,90%,100%.")] = "",
    clear: Annotated[bool, typer.Option("--clear", help="Train on the whole pictures again.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to the crops before the last change.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="With --auto: replace crops that are set.")] = False,
    base_model: Annotated[
        str,
        typer.Option("--base-model", "-b", help="With --auto: crop to its shapes.", autocompletion=base_models),
    ] = DEFAULT_BASE_MODEL,
    sheet: Annotated[Path | None, typer.Option(help="Draw before and after into this file.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Show what would change; write nothing.")] = False,
    force: Annotated[bool, typer.Option(help="Overwrite the sheet's file.")] = False,
) -> None:
    """Crop pictures, all or some, and undo it; without an option, list the crops."""
    session: Session = ctx.obj
    if sum((auto, bool(box), clear, undo)) > 1:
        raise InvalidArgument("More than one way to crop is given", remedy="Give --auto, --box, --clear or --undo.")
    if sheet is not None:
        check_sheet(sheet, force=force)
    name = session.name("datasets", dataset)
    chosen = lookup.images_to_change(session, name, images or (), change=auto or clear or undo)
    if box and not images:
        raise InvalidArgument("--box needs pictures", field="images", remedy="Name them, or use --auto for all.")
    wanted: dict[str, dataset_pb2.Crop | None] = {}
    if auto:
        open_ = [each for each in chosen if replace or images or not each.HasField("crop")]
        wanted = _suggested(session, name, open_, base_model)
    elif box:
        wanted = {each.name: _box(box, each) for each in chosen}
    elif clear or undo:
        wanted = {each.name: each.previous_crop if undo and each.HasField("previous_crop") else None for each in chosen}
    changes = [each for each in chosen if each.name in wanted and not _same(each, wanted[each.name])]
    after = chosen if dry_run else _applied(session, name, chosen, changes, wanted)
    if sheet is not None:
        shown = {each.name: (wanted[each.name] if each.name in wanted else _crop_of(each)) for each in chosen}
        save_sheet(draw_sheet(f"{output.short(name)}: before and after", _entries(session, chosen, shown)), sheet)
    if session.json:
        output.print_json({
            "changed": [each.name for each in changes], "dryRun": dry_run,
            "images": [
                {"image": each.name, "fileName": each.file_name,
                 "crop": output.to_json(kept) if (kept := wanted.get(each.name, _crop_of(each))) else None}
                for each in after
            ],
        })  # fmt: skip
        return
    _tell(chosen, wanted)
    if wanted or auto or clear or undo:
        output.say(f"{len(changes)} of {len(chosen)} pictures {'would change' if dry_run else 'changed'}.")
    if changes and not dry_run and not undo:
        output.next_step(session, f"fiveshot dataset crop {output.short(name)} --undo   (or train on them)")
    if sheet is not None:
        output.say(f"Sheet: {sheet}")


@app.command("update-image", rich_help_panel=PICTURES)
def update_image(
    ctx: typer.Context,
    dataset: Dataset,
    images: Annotated[list[str], typer.Argument(help="File names, ids or full names.", autocompletion=image_files)],
    repeats: Annotated[int, typer.Option(min=0, max=1000, help="Uses per epoch; 0 takes the dataset's value.")],
) -> None:
    """Set how many times pictures are used per epoch."""
    session: Session = ctx.obj
    name = session.name("datasets", dataset)
    chosen = {each.name: each for each in (lookup.image(session, name, given) for given in images)}
    requests = [
        pb.UpdateImageRequest(
            image=dataset_pb2.Image(name=each.name, etag=each.etag, num_repeats=repeats),
            update_mask=FieldMask(paths=["num_repeats"]),
        )
        for each in chosen.values()
    ]
    changed = _updated(session, name, requests)
    if session.json:
        output.print_list("images", changed)
        return
    for each in changed:
        output.say(f"{each.file_name}: {each.num_repeats or 'the dataset’s number of'} repeats")


def _suggested(
    session: Session, dataset: str, images: Sequence[dataset_pb2.Image], base_model: str
) -> dict[str, dataset_pb2.Crop | None]:
    shapes = []
    if base_model:
        request = trainer_api.GetBaseModelRequest(name=base_model_name(session, base_model))
        shapes = list(session.trainer.GetBaseModel(request).training_shapes)
    found: dict[str, dataset_pb2.Crop | None] = {}
    files = {each.name: each.file_name for each in images}
    quiet = session.json or not output.err.is_terminal
    looking = Progress(console=output.err, transient=True, disable=quiet)
    with output.explained("No crop was changed."), looking as progress:
        bar = progress.add_task("looking", total=len(images))
        for start in range(0, len(images), _BATCH):
            part = [each.name for each in images[start : start + _BATCH]]
            asked = tagger_api.SuggestCropsRequest(
                dataset=dataset, images=part,
                shapes=[tagger_pb2.CropShape(width=each.width, height=each.height) for each in shapes],
            )  # fmt: skip
            for each in session.tagger.SuggestCrops(asked, timeout=_EACH_S * len(part)):
                progress.advance(bar)
                if each.HasField("error"):
                    output.say_error(f"{files[each.image]}: {each.error.message}")
                else:
                    found[each.image] = each.crop if each.HasField("crop") else None
    return found


def _applied(
    session: Session,
    dataset: str,
    images: Sequence[dataset_pb2.Image],
    changes: Sequence[dataset_pb2.Image],
    wanted: dict[str, dataset_pb2.Crop | None],
) -> list[dataset_pb2.Image]:
    requests = [
        pb.UpdateImageRequest(
            image=dataset_pb2.Image(name=each.name, etag=each.etag, crop=wanted[each.name]),
            update_mask=FieldMask(paths=["crop"]),
        )
        for each in changes
    ]
    changed = {each.name: each for each in _updated(session, dataset, requests)}
    return [changed.get(each.name, each) for each in images]


def _updated(session: Session, dataset: str, requests: Sequence[pb.UpdateImageRequest]) -> list[dataset_pb2.Image]:
    changed: list[dataset_pb2.Image] = []
    for start in range(0, len(requests), _BATCH):
        batch = pb.BatchUpdateImagesRequest(parent=dataset, requests=requests[start : start + _BATCH])
        changed += session.dataset.BatchUpdateImages(batch).images
    return changed


def _box(text: str, image: dataset_pb2.Image) -> dataset_pb2.Crop:
    """`LEFT,TOP,RIGHT,BOTTOM`, each in pixels or with a percent sign. Raises InvalidArgument."""
    sizes = (image.width, image.height, image.width, image.height)
    try:
        edges = [
            float(part[:-1]) / 100 if part.endswith("%") else float(part) / size
            for part, size in zip((part.strip() for part in text.split(",")), sizes, strict=True)
        ]
    except ValueError as error:
        raise InvalidArgument(
            f"'{text}' is not a box", field="box", remedy="Write LEFT,TOP,RIGHT,BOTTOM, such as 0,120,1024,900."
        ) from error
    left, top, right, bottom = edges
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InvalidArgument(
            f"The box {text} does not lie in {image.file_name}, which has {image.width}×{image.height} pixels",
            field="box",
            remedy="Let left be less than right, top less than bottom, and all inside the picture.",
        )
    return dataset_pb2.Crop(left=left, top=top, right=right, bottom=bottom)


def _crop_of(image: dataset_pb2.Image) -> dataset_pb2.Crop | None:
    return image.crop if image.HasField("crop") else None


def _same(image: dataset_pb2.Image, wanted: dataset_pb2.Crop | None) -> bool:
    return (_crop_of(image) or dataset_pb2.Crop()) == (wanted or dataset_pb2.Crop())


def pixels_of(image: dataset_pb2.Image, crop: dataset_pb2.Crop | None) -> str:
    """`682×1024 at 171,0`, or `whole`."""
    if crop is None:
        return "whole"
    left, top = round(crop.left * image.width), round(crop.top * image.height)
    right, bottom = round(crop.right * image.width), round(crop.bottom * image.height)
    return f"{right - left}×{bottom - top} at {left},{top}"


def _tell(images: Sequence[dataset_pb2.Image], wanted: dict[str, dataset_pb2.Crop | None]) -> None:
    rows = (
        (each.file_name, f"{each.width}×{each.height}", "bars" if each.HasField("content_area") else "",
         pixels_of(each, _crop_of(each)),
         pixels_of(each, wanted[each.name]) if each.name in wanted and not _same(each, wanted[each.name]) else "")
        for each in images
    )  # fmt: skip
    output.table(("file", ">pixels", "has", "crop", "new crop"), rows)


def _entries(
    session: Session, images: Sequence[dataset_pb2.Image], shown: dict[str, dataset_pb2.Crop | None]
) -> list[Entry]:
    entries = []
    for each in images:
        kept = shown[each.name]
        pictures = [_picture(session, each, WHOLE), _picture(session, each, kept or WHOLE)]
        box = (kept.left, kept.top, kept.right, kept.bottom) if kept else None
        entries.append(Entry(pictures, [each.file_name, pixels_of(each, kept)], box))
    return entries


def _picture(session: Session, image: dataset_pb2.Image, crop: dataset_pb2.Crop) -> bytes:
    """A part of a picture, drawn no larger than a sheet shows it."""
    wide, high = image.width * (crop.right - crop.left), image.height * (crop.bottom - crop.top)
    scale = CELL / max(wide, high)
    request = pb.DownloadImageRequest(
        name=image.name, view=pb.DownloadImageRequest.VIEW_CROP, crop=crop,
        width=max(1, round(wide * scale)), height=max(1, round(high * scale)),
    )  # fmt: skip
    return b"".join(part.chunk for part in session.dataset.DownloadImage(request))
