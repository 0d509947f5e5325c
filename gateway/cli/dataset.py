"""`fiveshot dataset …`: photo sets and their frozen versions; `images.py` and `tags.py` add what is in them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.errors import InvalidArgument
from fiveshot.sync.calls import pages
from fiveshot.words import TEXT_FROM, chosen
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.cli import grouped, labels, lookup, output
from gateway.cli.completion import datasets
from gateway.cli.session import Session
from gateway.cli.texts import show_texts, tell_bars

SETS, PICTURES, WORDS, VERSIONS = "Photo sets", "Pictures", "Tags and captions", "Frozen versions"
app = typer.Typer(
    cls=grouped.by(SETS, PICTURES, WORDS, VERSIONS), help="Photo sets: upload, tag, edit, freeze.", no_args_is_help=True
)

Dataset = Annotated[str, typer.Argument(help="Id or full name of the dataset.", autocompletion=datasets)]
Filter = Annotated[str, typer.Option(help='Filter, such as: tags:"red" AND facts:"blurry"')]
Note = Annotated[str, typer.Option(help="A note to keep with the version.")]
OrderBy = Annotated[str, typer.Option(help="Sort order, such as: create_time desc")]
Limit = Annotated[int, typer.Option(min=0, help="Maximum number to list; 0 lists all.")]
_TEXT_FROM_HELP = f"What is trained of a picture's words: {', '.join(TEXT_FROM)}."


@app.command(rich_help_panel=SETS)
def create(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Id of the new dataset; generated when empty.")] = "",
    display_name: Annotated[str, typer.Option(help="Display name.")] = "",
    description: Annotated[str, typer.Option(help="Free text.")] = "",
    trigger_word: Annotated[str, typer.Option(help="The word that stands for the subject in every caption.")] = "",
    subject: Annotated[str, typer.Option(help="What the photos show, such as: gray cat")] = "",
    num_repeats: Annotated[int, typer.Option(help="How many times each image is used per epoch.")] = 0,
    text_from: Annotated[str, typer.Option(help=_TEXT_FROM_HELP)] = "caption-or-tags",
    label: labels.Label = None,
) -> None:
    """Create an empty dataset."""
    session: Session = ctx.obj
    fields = dataset_pb2.Dataset(
        display_name=display_name,
        description=description,
        trigger_word=trigger_word,
        subject=subject,
        num_repeats=num_repeats,
        text_from=chosen(TEXT_FROM, text_from, "text_from"),
        labels=labels.parsed(label),
    )
    dataset = lookup.new_id(dataset, field="dataset_id", kind="dataset")
    request = pb.CreateDatasetRequest(parent=session.parent, dataset_id=dataset, dataset=fields)
    made = session.dataset.CreateDataset(request)
    _show(session, made)
    output.next_step(session, f"fiveshot dataset upload {output.short(made.name)} FOLDER")


@app.command("list", rich_help_panel=SETS)
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


@app.command(rich_help_panel=SETS)
def show(
    ctx: typer.Context,
    dataset: Dataset,
    texts: Annotated[bool, typer.Option("--texts", help="Show the text that each picture is trained with.")] = False,
) -> None:
    """Show one dataset, or the texts that a training on it would read."""
    session: Session = ctx.obj
    name = session.name("datasets", dataset)
    if texts:
        show_texts(session, name)
    else:
        _show(session, session.dataset.GetDataset(pb.GetDatasetRequest(name=name)))
        if not session.json:
            request = pb.ListImagesRequest(parent=name, filter='facts:"bars"')
            tell_bars(list(pages(session.dataset.ListImages, request, "images", 0)))


@app.command(rich_help_panel=SETS)
def update(
    ctx: typer.Context,
    dataset: Dataset,
    display_name: Annotated[str | None, typer.Option(help="Display name.")] = None,
    description: Annotated[str | None, typer.Option(help="Free text.")] = None,
    trigger_word: Annotated[str | None, typer.Option(help="The word for the subject.")] = None,
    subject: Annotated[str | None, typer.Option(help="What the photos show, such as: gray cat")] = None,
    num_repeats: Annotated[int | None, typer.Option(help="How many times each image is used per epoch.")] = None,
    text_from: Annotated[str | None, typer.Option(help=_TEXT_FROM_HELP)] = None,
    label: labels.Changed = None,
    remove_label: labels.Removed = None,
) -> None:
    """Change a dataset's settings."""
    session: Session = ctx.obj
    given = {
        "display_name": display_name,
        "description": description,
        "trigger_word": trigger_word,
        "subject": subject,
        "num_repeats": num_repeats,
        "text_from": None if text_from is None else chosen(TEXT_FROM, text_from, "text_from"),
    }
    name = session.name("datasets", dataset)
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    etag = ""
    if label or remove_label:
        current = session.dataset.GetDataset(pb.GetDatasetRequest(name=name))
        values["labels"], etag = labels.changed(current.labels, label, remove_label), current.etag
    if not values:
        raise InvalidArgument("No change was given", remedy="Give at least one option, such as --trigger-word.")
    changed = dataset_pb2.Dataset(name=name, etag=etag, **values)
    request = pb.UpdateDatasetRequest(dataset=changed, update_mask=FieldMask(paths=list(values)))
    _show(session, session.dataset.UpdateDataset(request))


@app.command(rich_help_panel=SETS)
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


@app.command(rich_help_panel=VERSIONS)
def freeze(ctx: typer.Context, dataset: Dataset, description: Note = "", label: labels.Label = None) -> None:
    """Freeze the dataset as it is now into a version to train on."""
    session: Session = ctx.obj
    name, own = session.name("datasets", dataset), labels.parsed(label)
    request = pb.CreateDatasetVersionRequest(parent=name, description=description, labels=own)
    answer = session.dataset.CreateDatasetVersion(request)
    text = f"{answer.name}: {answer.image_count} pictures, digest {answer.digest[:12]}"
    output.print_json(answer) if session.json else output.say(text)
    place = answer.name.split("/datasets/")[-1]
    output.next_step(session, f"fiveshot train start {place} --watch")


@app.command(rich_help_panel=VERSIONS)
def versions(
    ctx: typer.Context,
    dataset: Dataset,
    filter: Annotated[str, typer.Option(help='Filter, such as: labels.team = "pets"')] = "",
    limit: Limit = 50,
) -> None:
    """List the frozen versions."""
    session: Session = ctx.obj
    request = pb.ListDatasetVersionsRequest(parent=session.name("datasets", dataset), filter=filter)
    found = list(pages(session.dataset.ListDatasetVersions, request, "versions", limit))
    if session.json:
        output.print_list("versions", found)
        return
    rows = (
        (output.short(v.name), v.image_count, v.digest[:12], output.when(v.create_time), v.description,
         labels.shown(v.labels)) for v in found
    )  # fmt: skip
    output.table((">version", ">images", "digest", "frozen", "note", "?labels"), rows)


def _show(session: Session, dataset: dataset_pb2.Dataset) -> None:
    if session.json:
        output.print_json(dataset)
        return
    output.facts(
        [
            ("name", dataset.name), ("display name", dataset.display_name), ("description", dataset.description),
            ("trigger word", dataset.trigger_word), ("subject", dataset.subject),
            ("repeats", dataset.num_repeats or ""),
            ("text from", next(word for word, value in TEXT_FROM.items() if value == (dataset.text_from or 1))),
            ("labels", labels.shown(dataset.labels)),
            ("images", f"{dataset.image_count} ({output.size(dataset.size_bytes)})"),
            ("created", output.when(dataset.create_time)), ("changed", output.when(dataset.update_time)),
        ]
    )  # fmt: skip
