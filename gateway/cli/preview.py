"""`fiveshot train preview`: what a job would train on, before any GPU is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from fiveshot.parameters import DEFAULT_BASE_MODEL
from fiveshot.trainer.v1 import training_job_pb2, training_picture_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb

from gateway.cli import output
from gateway.cli.base_models import base_model_name
from gateway.cli.faults import Faults
from gateway.cli.mixes import Source
from gateway.cli.parameters import parameters
from gateway.cli.sheets import Entry, check_sheet, draw_sheet, save_sheet, veiled
from gateway.cli.train import START, BaseModel, Repeats, Resolution, Set, app

_ALL_S = 600.0
_LOST, _ENLARGED = 0.1, 1.05


@app.command(rich_help_panel=START)
def preview(
    ctx: typer.Context,
    source: Source,
    base_model: BaseModel = DEFAULT_BASE_MODEL,
    resolution: Resolution = None,
    repeats: Repeats = None,
    set_: Set = None,
    sheet: Annotated[Path | None, typer.Option(help="Draw the pictures as the model sees them into this file.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite the sheet's file.")] = False,
) -> None:
    """Show each picture and text as a training would see them; nothing is created."""
    session, faults = ctx.obj, Faults()
    if sheet is not None:
        check_sheet(sheet, force=force)
    job = training_job_pb2.TrainingJob(
        base_model=base_model_name(session, base_model),
        dataset_version=session.name("datasets", source),
        parameters=parameters({"resolution": resolution, "num_repeats": repeats}, set_ or [], [], faults),
    )
    request = pb.PreviewTrainingRequest(parent=session.parent, training_job=job, without_pictures=sheet is None)
    faults.refuse(lambda: list(session.trainer.PreviewTraining(request, timeout=_ALL_S)))
    seen = list(session.trainer.PreviewTraining(request, timeout=_ALL_S))
    if sheet is not None:
        title = f"{output.short(job.dataset_version)} as {output.short(job.base_model)} sees it"
        entries = [
            Entry([veiled(each.picture, each.mask) if each.mask else each.picture], [_words(each)]) for each in seen
        ]
        save_sheet(draw_sheet(title, entries), sheet)
    if session.json:
        for each in seen:
            each.ClearField("picture")
            each.ClearField("mask")
        output.print_list("pictures", seen)
        return
    rows = (
        (each.file_name, f"{each.bucket_width}×{each.bucket_height}", f"{each.seen_width}×{each.seen_height}",
         _has(each), f"{each.lost_share:.0%}" if each.lost_share >= 0.005 else "",
         each.samples_per_epoch or "held out", _tokens(each), _source(each),
         each.text)
        for each in seen
    )  # fmt: skip
    columns = ("file", ">trained at", ">out of", "has", ">cut", ">samples", ">tokens", "from", "text")
    output.table(columns, rows)
    for line in _remarks(seen, masked=job.parameters.masked_loss):
        output.note(line)
    if sheet is not None:
        output.say(f"Sheet: {sheet}")


def _tokens(each: training_picture_pb2.TrainingPicture) -> str:
    limit = f"/{each.token_limit}" if each.token_limit else ""
    return f"~{each.token_count}{limit}"


def _source(each: training_picture_pb2.TrainingPicture) -> str:
    name = output.enum_name(each, "text_source")
    return "caption, tags" if name.endswith("caption_and_tags") else name.split("_")[-1]


def _has(each: training_picture_pb2.TrainingPicture) -> str:
    return " ".join(word for word, has in (("crop", each.HasField("crop")), ("mask", each.has_mask)) if has)


def _words(each: training_picture_pb2.TrainingPicture) -> str:
    return f"{each.file_name}, {each.bucket_width}×{each.bucket_height}: {each.text or '(no text)'}"


def _remarks(seen: list[training_picture_pb2.TrainingPicture], *, masked: bool) -> list[str]:
    groups = (
        ("with tags that are not trained (dataset update --text-from)", [each for each in seen if each.tags_unused]),
        ("with a caption that is not trained (dataset update --text-from)",
         [each for each in seen if each.caption_unused]),
        ("with more text than the model reads; the end is cut off",
         [each for each in seen if each.token_limit and each.token_count > each.token_limit]),
        ("with masks that this training does not use; set masked_loss=true to train what they mark",
         [each for each in seen if each.has_mask and not masked]),
        ("without any text", [each for each in seen if not each.text]),
        ("with more than a tenth lost to the form of their bucket", [each for each in seen if each.lost_share > _LOST]),
        ("with fewer pixels than are trained, so enlarged",
         [each for each in seen if each.enlargement > _ENLARGED]),
    )  # fmt: skip
    return [
        f"{len(found)} {what}: {', '.join(each.file_name for each in found[:5])}{' …' if len(found) > 5 else ''}."
        for what, found in groups
        if found
    ]
