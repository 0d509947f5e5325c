"""`fiveshot dataset …`: photo sets, their pictures, tags and versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.cli import output
from gateway.cli.session import Session, pages
from gateway.cli.tagging import run_tag_job, suggested_subject
from gateway.cli.transfer import download, find_pictures, upload_pictures
from services.chassis.errors import InvalidArgument

app = typer.Typer(help="Photo sets: upload, tag, edit, freeze.", no_args_is_help=True)

Dataset = Annotated[str, typer.Argument(help="Id or full name of the dataset.")]
Image = Annotated[str, typer.Argument(help="Id or full name of the image.")]
Filter = Annotated[str, typer.Option(help='Filter, such as: tags:"red" AND facts:"blurry"')]
Note = Annotated[str, typer.Option(help="A note to keep with the version.")]
OrderBy = Annotated[str, typer.Option(help="Sort order, such as: create_time desc")]
Limit = Annotated[int, typer.Option(min=0, help="Maximum number to list; 0 lists all.")]


@app.command()
def create(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Id of the new dataset; generated when empty.")] = "",
    display_name: Annotated[str, typer.Option(help="Display name.")] = "",
    description: Annotated[str, typer.Option(help="Free text.")] = "",
    trigger_word: Annotated[str, typer.Option(help="The word that stands for the subject in every caption.")] = "",
    num_repeats: Annotated[int, typer.Option(help="How many times each image is used per epoch.")] = 0,
) -> None:
    """Create an empty dataset."""
    session: Session = ctx.obj
    fields = dataset_pb2.Dataset(
        display_name=display_name, description=description, trigger_word=trigger_word, num_repeats=num_repeats
    )
    request = pb.CreateDatasetRequest(parent=session.parent, dataset_id=dataset, dataset=fields)
    _show(session, session.dataset.CreateDataset(request))


@app.command("list")
def list_(ctx: typer.Context, filter: Filter = "", order_by: OrderBy = "", limit: Limit = 50) -> None:
    """List the project's datasets."""
    session: Session = ctx.obj
    request = pb.ListDatasetsRequest(parent=session.parent, filter=filter, order_by=order_by)
    found = list(pages(session.dataset.ListDatasets, request, "datasets", limit))
    if session.json:
        output.print_list("datasets", found)
        return
    rows = (
        (output.short(each.name), each.display_name, each.image_count, output.size(each.size_bytes), each.trigger_word,
         output.when(each.update_time))
        for each in found
    )  # fmt: skip
    output.table(("dataset", "display name", ">images", ">size", "trigger word", "changed"), rows)


@app.command()
def show(ctx: typer.Context, dataset: Dataset) -> None:
    """Show one dataset."""
    session: Session = ctx.obj
    _show(session, session.dataset.GetDataset(pb.GetDatasetRequest(name=session.name("datasets", dataset))))


@app.command()
def update(
    ctx: typer.Context,
    dataset: Dataset,
    display_name: Annotated[str | None, typer.Option(help="Display name.")] = None,
    description: Annotated[str | None, typer.Option(help="Free text.")] = None,
    trigger_word: Annotated[str | None, typer.Option(help="The word for the subject.")] = None,
    num_repeats: Annotated[int | None, typer.Option(help="How many times each image is used per epoch.")] = None,
) -> None:
    """Change a dataset's settings."""
    session: Session = ctx.obj
    given = {
        "display_name": display_name,
        "description": description,
        "trigger_word": trigger_word,
        "num_repeats": num_repeats,
    }
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not values:
        raise InvalidArgument("No change was given", remedy="Give at least one option, such as --trigger-word.")
    changed = dataset_pb2.Dataset(name=session.name("datasets", dataset), **values)
    request = pb.UpdateDatasetRequest(dataset=changed, update_mask=FieldMask(paths=list(values)))
    _show(session, session.dataset.UpdateDataset(request))


@app.command()
def delete(
    ctx: typer.Context,
    dataset: Dataset,
    force: Annotated[bool, typer.Option(help="Delete its versions as well.")] = False,
) -> None:
    """Delete a dataset with its images."""
    session: Session = ctx.obj
    name = session.name("datasets", dataset)
    session.dataset.DeleteDataset(pb.DeleteDatasetRequest(name=name, force=force))
    output.print_json({"deleted": name}) if session.json else output.say(f"Deleted {name}.")


@app.command()
def upload(
    ctx: typer.Context,
    dataset: Dataset,
    paths: Annotated[list[Path], typer.Argument(help="Pictures (png, jpg, jpeg), or folders of pictures.")],
    captions: Annotated[bool, typer.Option(help="Read NAME.txt beside a picture as its caption.")] = True,
) -> None:
    """Upload pictures; refused files are listed and the rest are uploaded."""
    session: Session = ctx.obj
    result = upload_pictures(session, session.name("datasets", dataset), find_pictures(paths), captions=captions)
    if session.json:
        output.print_json(result.as_json())
    else:
        present = f"{len(result.present)} there already, " if result.present else ""
        output.say(f"{len(result.images)} uploaded, {present}{len(result.refused)} refused.")
    if result.refused:
        raise typer.Exit(output.exit_code(result.refused[-1].error))


@app.command()
def images(ctx: typer.Context, dataset: Dataset, filter: Filter = "", limit: Limit = 100) -> None:
    """List a dataset's pictures."""
    session: Session = ctx.obj
    request = pb.ListImagesRequest(parent=session.name("datasets", dataset), filter=filter)
    found = list(pages(session.dataset.ListImages, request, "images", limit))
    if session.json:
        output.print_list("images", found)
        return
    rows = (
        (output.short(each.name), each.file_name, f"{each.width}×{each.height}", output.size(each.size_bytes),
         each.caption, ", ".join(tag.label for tag in each.tags), ", ".join(each.facts))
        for each in found
    )  # fmt: skip
    output.table(("image", "file", ">pixels", ">size", "caption", "tags", "facts"), rows)


@app.command("download")
def download_(
    ctx: typer.Context,
    dataset: Dataset,
    image: Image,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="Output file; defaults to the file's own name.")] = None,
    thumbnail: Annotated[bool, typer.Option(help="Download the thumbnail instead of the original.")] = False,
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
) -> None:
    """Download one picture."""
    session: Session = ctx.obj
    record = session.dataset.GetImage(pb.GetImageRequest(name=_image(session, dataset, image)))
    view = pb.DownloadImageRequest.VIEW_THUMBNAIL if thumbnail else pb.DownloadImageRequest.VIEW_ORIGINAL
    chunks = session.dataset.DownloadImage(pb.DownloadImageRequest(name=record.name, view=view))
    default = Path(record.file_name)
    path = to or (default.with_name(f"{default.stem}.thumbnail.jpg") if thumbnail else default)
    saved = download(chunks, path, sha256="" if thumbnail else record.sha256, force=force)
    output.print_json(saved.as_json()) if session.json else output.say(f"{saved.path} ({output.size(saved.size)})")


@app.command("remove-image")
def remove_image(ctx: typer.Context, dataset: Dataset, image: Image) -> None:
    """Delete one picture from the set; frozen versions keep it."""
    session: Session = ctx.obj
    name = _image(session, dataset, image)
    session.dataset.DeleteImage(pb.DeleteImageRequest(name=name))
    output.print_json({"deleted": name}) if session.json else output.say(f"Deleted {name}.")


@app.command()
def caption(
    ctx: typer.Context,
    dataset: Dataset,
    image: Image,
    text: Annotated[str, typer.Argument(help="The caption; when empty, the tags are used instead.")],
) -> None:
    """Set the caption of one picture."""
    session: Session = ctx.obj
    changed = dataset_pb2.Image(name=_image(session, dataset, image), caption=text)
    request = pb.UpdateImageRequest(image=changed, update_mask=FieldMask(paths=["caption"]))
    answer = session.dataset.UpdateImage(request)
    output.print_json(answer) if session.json else output.say(f"{answer.file_name}: {answer.caption}")


@app.command()
def tag(
    ctx: typer.Context,
    dataset: Dataset,
    tagger: Annotated[str, typer.Option(help="Tagger to use; the default one when empty.")] = "",
    threshold: Annotated[float | None, typer.Option(help="Minimum score, 0 to 1.")] = None,
    max_tags: Annotated[int, typer.Option(help="Maximum number of tags per image; 0 means 30.")] = 0,
    exclude: Annotated[list[str] | None, typer.Option(help="Label to leave out; repeatable; * is a wildcard.")] = None,
    prepend: Annotated[list[str] | None, typer.Option(help="Label to put first; repeatable.")] = None,
    trigger: Annotated[bool, typer.Option(help="Put the dataset's trigger word first.")] = True,
    mode: Annotated[str, typer.Option(help="skip, append or overwrite-auto.")] = "append",
    filter: Filter = "",
    dry_run: Annotated[bool, typer.Option(help="Show what would change; write nothing.")] = False,
) -> None:
    """Tag all pictures; manual edits are never overwritten."""
    session: Session = ctx.obj
    options = {
        "tagger": tagger, "threshold": threshold, "max_tags": max_tags, "exclude": exclude or [],
        "prepend": prepend or [], "prepend_trigger_word": trigger, "mode": mode,
    }  # fmt: skip
    job = run_tag_job(session, session.name("datasets", dataset), options, filter=filter, dry_run=dry_run)
    if job.failed_images or output.enum_name(job, "state") != "succeeded":
        raise typer.Exit(output.FAILED)


@app.command("suggest-subject")
def suggest_subject(ctx: typer.Context, dataset: Dataset, filter: Filter = "") -> None:
    """Look at the pictures and suggest what all of them show."""
    session: Session = ctx.obj
    answer = suggested_subject(session, session.name("datasets", dataset), filter=filter)
    if session.json:
        output.print_json(answer)
        return
    output.say(answer.question)
    if answer.subject:
        output.say(f"{answer.agreeing_images} of {answer.seen_images} pictures looked at show it.")
    if answer.candidates:
        output.table(("noun", ">score"), ((each.subject, f"{each.score:.2f}") for each in answer.candidates))


@app.command("edit-tags")
def edit_tags(
    ctx: typer.Context,
    dataset: Dataset,
    add: Annotated[list[str] | None, typer.Option(help="Label to append; repeatable.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Label to remove; repeatable.")] = None,
    replace: Annotated[list[str] | None, typer.Option(help="OLD=NEW; repeatable.")] = None,
    prepend: Annotated[list[str] | None, typer.Option(help="Label to put first; repeatable.")] = None,
    deduplicate: Annotated[bool, typer.Option(help="Remove duplicate labels, keeping the first.")] = False,
    filter: Filter = "",
    dry_run: Annotated[bool, typer.Option(help="Count what would change; write nothing.")] = False,
) -> None:
    """Edit the tags of many pictures at once."""
    session: Session = ctx.obj
    edits = [pb.TagEdit(remove=label) for label in remove or []]
    edits += [_replacement(text) for text in replace or []]
    edits += [pb.TagEdit(add=label) for label in add or []]
    edits += [pb.TagEdit(prepend=label) for label in prepend or []]
    edits += [pb.TagEdit(deduplicate=True)] if deduplicate else []
    request = pb.EditTagsRequest(
        parent=session.name("datasets", dataset), filter=filter, edits=edits, validate_only=dry_run
    )
    answer = session.dataset.EditTags(request)
    would = "would change" if dry_run else "changed"
    text = f"{answer.changed_images} of {answer.matched_images} pictures {would}."
    output.print_json(answer) if session.json else output.say(text)


@app.command()
def tags(ctx: typer.Context, dataset: Dataset) -> None:
    """Count the labels of a dataset."""
    session: Session = ctx.obj
    answer = session.dataset.ListTagStats(pb.ListTagStatsRequest(parent=session.name("datasets", dataset)))
    if session.json:
        output.print_json(answer)
        return
    output.table(("label", ">pictures", ">by hand"), ((s.label, s.image_count, s.manual_count) for s in answer.stats))


@app.command()
def freeze(ctx: typer.Context, dataset: Dataset, description: Note = "") -> None:
    """Freeze the dataset as it is now into a version to train on."""
    session: Session = ctx.obj
    request = pb.CreateDatasetVersionRequest(parent=session.name("datasets", dataset), description=description)
    answer = session.dataset.CreateDatasetVersion(request)
    text = f"{answer.name}: {answer.image_count} pictures, digest {answer.digest[:12]}"
    output.print_json(answer) if session.json else output.say(text)


@app.command()
def versions(ctx: typer.Context, dataset: Dataset, limit: Limit = 50) -> None:
    """List the frozen versions."""
    session: Session = ctx.obj
    request = pb.ListDatasetVersionsRequest(parent=session.name("datasets", dataset))
    found = list(pages(session.dataset.ListDatasetVersions, request, "versions", limit))
    if session.json:
        output.print_list("versions", found)
        return
    rows = (
        (output.short(v.name), v.image_count, v.digest[:12], output.when(v.create_time), v.description) for v in found
    )
    output.table((">version", ">images", "digest", "frozen", "note"), rows)


def _show(session: Session, dataset: dataset_pb2.Dataset) -> None:
    if session.json:
        output.print_json(dataset)
        return
    output.facts(
        [
            ("name", dataset.name), ("display name", dataset.display_name), ("description", dataset.description),
            ("trigger word", dataset.trigger_word), ("repeats", dataset.num_repeats or ""),
            ("images", f"{dataset.image_count} ({output.size(dataset.size_bytes)})"),
            ("created", output.when(dataset.create_time)), ("changed", output.when(dataset.update_time)),
        ]
    )  # fmt: skip


def _image(session: Session, dataset: str, image: str) -> str:
    return image if image.startswith("projects/") else f"{session.name('datasets', dataset)}/images/{image}"


def _replacement(text: str) -> pb.TagEdit:
    old, separator, new = text.partition("=")
    if not separator:
        raise InvalidArgument(f"'{text}' is not OLD=NEW", field="replace", remedy="Write --replace 'cat=dog'.")
    return pb.TagEdit(replace=pb.TagReplacement(old_label=old, new_label=new))
