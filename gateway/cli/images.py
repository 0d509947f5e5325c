"""`fiveshot dataset …` for pictures: up and down, listed, captioned, taken out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.errors import InvalidArgument
from fiveshot.folders import Found, find_pictures
from fiveshot.sync.archives import is_archive, upload_archive
from fiveshot.sync.calls import pages
from fiveshot.sync.transfer import save
from fiveshot.transfers import Upload
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.cli import labels, lookup, output
from gateway.cli.completion import image_files
from gateway.cli.dataset import PICTURES, WORDS, Dataset, Filter, Limit, app
from gateway.cli.session import Session
from gateway.cli.texts import tell_competition, tell_faults
from gateway.cli.transfer import as_json, sending, tell, upload_pictures

Image = Annotated[str, typer.Argument(help="File name, id or full name of the picture.", autocompletion=image_files)]
_NAMED = 20


@app.command(rich_help_panel=PICTURES)
def upload(
    ctx: typer.Context,
    dataset: Dataset,
    paths: Annotated[list[Path], typer.Argument(help="Pictures (png, jpg, jpeg, jfif), folders or zips of them.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Enter the folders in a folder too.")] = False,
    captions: Annotated[
        bool, typer.Option(help="Read captions: NAME.txt or NAME.caption beside a picture, or metadata.jsonl.")
    ] = True,
    folder_repeats: Annotated[
        bool, typer.Option(help="Take the repeats of a picture from its folder's name, such as 5_sks cat.")
    ] = True,
    update_captions: Annotated[
        bool, typer.Option("--update-captions", help="Update captions and repeats of pictures that are there already.")
    ] = False,
) -> None:
    """Upload pictures; refused files are listed and the rest are uploaded."""
    session: Session = ctx.obj
    name = session.name("datasets", dataset)
    zipped = [path for path in paths if is_archive(path)]
    rest = [path for path in paths if path not in zipped]
    found = find_pictures(rest, recursive=recursive, captions=captions, folder_repeats=folder_repeats)
    how = {"captions": captions, "folder_repeats": folder_repeats, "update_present": update_captions}
    with output.explained("What has arrived is kept. Give the same command again to upload the rest."):
        result = upload_pictures(session, name, found.pictures, update_present=update_captions)
        for path in zipped:
            with sending(session) as show:
                found.words += upload_archive(session.stubs, name, path, result, on_progress=show, **how)
    found.passed_over += result.passed_over
    if session.json:
        passed = [{"path": str(each.path), "why": each.why} for each in found.passed_over]
        output.print_json({**as_json(result), "passedOver": passed})
    else:
        tell(result)
        _tell(session, name, found, result)
    if result.refused:
        raise typer.Exit(output.exit_code(result.refused[-1].error))


# The counterpart of `export`, for who looks for it under that name.
app.command("import", rich_help_panel=PICTURES, hidden=True)(upload)


@app.command(rich_help_panel=PICTURES)
def images(ctx: typer.Context, dataset: Dataset, filter: Filter = "", limit: Limit = 100) -> None:
    """List a dataset's pictures."""
    session: Session = ctx.obj
    request = pb.ListImagesRequest(parent=session.name("datasets", dataset), filter=filter)
    found = list(pages(session.dataset.ListImages, request, "images", limit))
    if session.json:
        output.print_list("images", found)
        return
    rows = (
        (each.file_name, f"{each.width}×{each.height}", output.size(each.size_bytes), each.caption,
         ", ".join(tag.label for tag in each.tags), ", ".join(each.facts), labels.shown(each.labels),
         output.short(each.name))
        for each in found
    )  # fmt: skip
    # Every command takes the file's name, so the id is the first to go where there is little room.
    output.table(("file", "?>pixels", "?>size", "caption", "tags", "facts", "?labels", "?image"), rows)


@app.command("download", rich_help_panel=PICTURES)
def download_(
    ctx: typer.Context,
    dataset: Dataset,
    image: Image,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="Output file; defaults to the file's own name.")] = None,
    thumbnail: Annotated[bool, typer.Option(help="Download the thumbnail instead of the original.")] = False,
    cropped: Annotated[bool, typer.Option("--crop", help="Download the part that is trained, as a JPEG.")] = False,
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
) -> None:
    """Download one picture."""
    session: Session = ctx.obj
    record = lookup.image(session, dataset, image)
    if thumbnail and cropped:
        raise InvalidArgument("--thumbnail and --crop exclude each other", field="crop", remedy="Give one of them.")
    form = "thumbnail" if thumbnail else "crop" if cropped else ""
    view = pb.DownloadImageRequest.View.Value(f"VIEW_{form.upper() or 'ORIGINAL'}")
    request = pb.DownloadImageRequest(name=record.name, view=view)
    own = f"{Path(record.file_name).stem}.{form}.jpg" if form else record.file_name
    sha256 = "" if form else record.sha256
    fetch = partial(session.dataset.DownloadImage, request)
    stored = partial(save, session.stubs.channel, fetch, to, name=own, sha256=sha256, overwrite=force)
    output.saved(session, stored)


@app.command("remove-image", rich_help_panel=PICTURES)
def remove_image(ctx: typer.Context, dataset: Dataset, image: Image) -> None:
    """Delete one picture from the set; frozen versions keep it."""
    session: Session = ctx.obj
    name = lookup.image(session, dataset, image).name
    session.dataset.DeleteImage(pb.DeleteImageRequest(name=name))
    output.print_json({"deleted": name}) if session.json else output.say(f"Deleted {name}.")


@app.command(rich_help_panel=WORDS)
def caption(
    ctx: typer.Context,
    dataset: Dataset,
    image: Image,
    text: Annotated[str, typer.Argument(help="The caption; when empty, the tags are used instead.")],
) -> None:
    """Set the caption of one picture."""
    session: Session = ctx.obj
    changed = dataset_pb2.Image(name=lookup.image(session, dataset, image).name, caption=text)
    request = pb.UpdateImageRequest(image=changed, update_mask=FieldMask(paths=["caption"]))
    answer = session.dataset.UpdateImage(request)
    if session.json:
        output.print_json(answer)
        return
    output.say(f"{answer.file_name}: {answer.caption}")
    output.say(f"Trained as: {answer.training_text}")
    tell_competition(session, [answer])


def _tell(session: Session, dataset: str, found: Found, result: Upload) -> None:
    short = output.short(dataset)
    for each in found.passed_over[:_NAMED]:
        output.note(output.at_the_command_line(f"{each.path}: passed over, a {each.why}."))
    if len(found.passed_over) > _NAMED:
        output.note(f"… and {len(found.passed_over) - _NAMED} more.")
    held = len(result.present) - len(result.updated)
    counts = [(len(result.images), "uploaded"), (len(result.updated), "updated"), (held, "there already")]
    told = ", ".join(f"{count} {what}" for count, what in counts if count or what == "uploaded")
    output.say(f"{told}, {len(result.refused)} refused.")
    if found.passed_over:
        output.say(output.at_the_command_line(f"Passed over: {found.passed_over_in_words()}."))
    repeated = sorted({each.num_repeats for each in result.images if each.num_repeats})
    if repeated:
        output.say(f"Repeats from the folders' names: {', '.join(map(str, repeated))}.")
    if result.differing:
        output.say(f"{len(result.differing)} with a changed caption or repeats; --update-captions takes them.")
    tell_competition(session, result.images)
    tell_faults(session, result.images)
    if found.words and not session.dataset.GetDataset(pb.GetDatasetRequest(name=dataset)).trigger_word:
        word = found.words[0].split()[0]
        output.next_step(session, f"fiveshot dataset update {short} --trigger-word {word}")
    elif result.images:
        output.next_step(session, f"fiveshot dataset tag {short}")
