"""`fiveshot models …`: the registry of saved epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from fiveshot import peft_folders
from fiveshot.errors import InvalidArgument, NotFound
from fiveshot.registry.v1 import model_pb2
from fiveshot.registry.v1 import registry_service_pb2 as pb
from fiveshot.sync.calls import pages
from fiveshot.sync.models import SAVE_TIMEOUT_S, Models, save_file
from fiveshot.transfers import Saved

from gateway.cli import labels, lookup, output
from gateway.cli.completion import models
from gateway.cli.session import Session
from gateway.cli.transfer import sending

app = typer.Typer(help="Models: save, list, download.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="Id or full name of the model.", autocompletion=models)]
Versioned = Annotated[str, typer.Argument(help="Model, or MODEL@VERSION.", autocompletion=models)]
Version = Annotated[str, typer.Argument(help="Number or alias of the version.")]
Limit = Annotated[int, typer.Option(min=0, help="Maximum number to list; 0 lists all.")]


@app.command()
def save(
    ctx: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[JOB] [EPOCH] MODEL",
            help="Job; the last when left out. Epoch: number, recommended or last; the recommended one when left out."
            " Id of the model to save into.",
        ),
    ],
    create: Annotated[bool, typer.Option(help="Create the model if it does not exist.")] = False,
    display_name: Annotated[str, typer.Option(help="Display name, used with --create.")] = "",
    description: Annotated[str, typer.Option(help="A note to keep with the version.")] = "",
    alias: Annotated[list[str] | None, typer.Option(help="Alias for the new version; repeatable.")] = None,
    label: labels.Label = None,
    dry_run: Annotated[bool, typer.Option(help="Show the card that it would have; keep nothing.")] = False,
) -> None:
    """Keep one epoch as the next version of a model."""
    session: Session = ctx.obj
    *chosen, model = words
    model = lookup.new_id(model, field="model_id", kind="model")
    _, epoch = lookup.job_and_epoch(session, chosen)
    request = pb.SaveEpochRequest(
        parent=session.parent,
        epoch=epoch,
        model_id=model,
        create_model=create,
        display_name=display_name,
        description=description,
        aliases=alias or [],
        labels=labels.parsed(label),
        validate_only=dry_run,
    )
    with output.explained(f"Whether it was saved is not known. See: fiveshot models show {model}"):
        version = session.registry.SaveEpoch(request, timeout=SAVE_TIMEOUT_S)
    if dry_run:
        output.print_json(version) if session.json else print(version.model_card, end="")
        return
    output.print_json(version) if session.json else output.say(f"Saved {epoch} as {version.name}.")
    output.next_step(session, f"fiveshot models download {model} {output.short(version.name)}")


@app.command("import")
def import_(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Id of the model to put it into.")],
    file: Annotated[
        Path, typer.Argument(help="A LoRA of kohya, diffusers or PEFT: a .safetensors file, or PEFT's folder.")
    ],
    create: Annotated[bool, typer.Option(help="Create the model if it does not exist.")] = False,
    base_model: Annotated[str, typer.Option(help="Id of the base model that it is made for.")] = "",
    trigger_word: Annotated[str, typer.Option(help="The word for the subject; what the file says by default.")] = "",
    display_name: Annotated[str, typer.Option(help="Display name, used with --create.")] = "",
    description: Annotated[str, typer.Option(help="A note to keep with the version.")] = "",
    alias: Annotated[list[str] | None, typer.Option(help="Alias for the new version; repeatable.")] = None,
) -> None:
    """Keep a LoRA file from elsewhere as the next version of a model."""
    session: Session = ctx.obj
    if not file.is_file() and not (file / peft_folders.WEIGHTS).is_file():
        raise NotFound(f"There is no file {file}", field="file_name", remedy="Check the path.")
    model = lookup.new_id(model, field="model_id", kind="model")
    with sending(session) as show:
        kept = Models(session.stubs).import_file(
            session.name("models", model), file, create=create, base_model=base_model, trigger=trigger_word,
            display_name=display_name, description=description, aliases=alias or [], on_progress=show,
        ).message  # fmt: skip
    if session.json:
        output.print_json(kept)
        return
    output.say(f"Imported {file.name} ({kept.files[0].file_id}, rank {kept.rank}) as {kept.name}.")
    output.next_step(session, f"fiveshot models show {model} {output.short(kept.name)}")


@app.command()
def create(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Id of the new model; generated when empty.")] = "",
    display_name: Annotated[str, typer.Option(help="Display name.")] = "",
    description: Annotated[str, typer.Option(help="Free text.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Tag to find it by; repeatable.")] = None,
    label: labels.Label = None,
) -> None:
    """Create an empty model."""
    session: Session = ctx.obj
    model = lookup.new_id(model, field="model_id", kind="model")
    fields = model_pb2.Model(
        display_name=display_name, description=description, tags=tag or [], labels=labels.parsed(label)
    )
    made = session.registry.CreateModel(pb.CreateModelRequest(parent=session.parent, model_id=model, model=fields))
    output.print_json(made) if session.json else output.say(made.name)


@app.command("list")
def list_(
    ctx: typer.Context,
    filter: Annotated[str, typer.Option(help='Filter, such as: tags:"dog"')] = "",
    order_by: Annotated[str, typer.Option(help="Sort order, such as: create_time desc")] = "",
    limit: Limit = 50,
) -> None:
    """List the project's models."""
    session: Session = ctx.obj
    request = pb.ListModelsRequest(parent=session.parent, filter=filter, order_by=order_by)
    found = list(pages(session.registry.ListModels, request, "models", limit))
    if session.json:
        output.print_list("models", found)
        return
    rows = (
        (output.short(m.name), m.display_name, m.version_count, _aliases(m), ", ".join(m.tags),
         output.when(m.update_time))
        for m in found
    )  # fmt: skip
    output.table(("model", "display name", ">versions", "aliases", "tags", "changed"), rows)


@app.command()
def show(
    ctx: typer.Context,
    model: Versioned,
    version: Annotated[str, typer.Argument(help="Version number or alias; shows the model itself when empty.")] = "",
    card: Annotated[bool, typer.Option(help="Print the version's model card.")] = False,
) -> None:
    """Show a model, or one of its versions with files and lineage."""
    session: Session = ctx.obj
    if "@" not in model and not version and not card:
        found = session.registry.GetModel(pb.GetModelRequest(name=session.name("models", model)))
        output.print_json(found) if session.json else show_model(found)
        return
    request = pb.GetModelVersionRequest(name=_version(session, model, version))
    kept = session.registry.GetModelVersion(request)
    if session.json:
        output.print_json(kept)
    elif card:
        output.say(kept.model_card)
    else:
        _show_version(kept)


@app.command()
def versions(ctx: typer.Context, model: Model, limit: Limit = 50) -> None:
    """List a model's versions, newest first."""
    session: Session = ctx.obj
    request = pb.ListModelVersionsRequest(parent=session.name("models", model))
    found = list(pages(session.registry.ListModelVersions, request, "versions", limit))
    if session.json:
        output.print_list("versions", found)
        return
    rows = (
        (output.short(v.name), ", ".join(v.aliases), _loss(v),
         (v.lineage.epoch or v.lineage.uploaded_file) + output.pretended(v.lineage),
         output.when(v.create_time), v.description)
        for v in found
    )  # fmt: skip
    output.table((">version", "aliases", ">loss", "from", "saved", "note"), rows)


@app.command("download")
def download_(
    ctx: typer.Context,
    model: Versioned,
    version: Version = "latest",
    file_id: Annotated[
        str,
        typer.Option(
            "--file",
            "--format",
            help="kohya (the default), diffusers, peft, preview-1 and so on, or contact-sheet; a LoRA that is stored in"
            " another form is rewritten.",
        ),
    ] = "",
    to: Annotated[
        Path | None, typer.Option("--to", "-o", help="Output file, for peft a folder; defaults to the file's own name.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
) -> None:
    """Download one file of a version; its digest is checked."""
    session: Session = ctx.obj
    wanted = _version(session, model, version)
    output.saved(session, lambda: download_version(session, wanted, file_id, to, force=force))


@app.command()
def alias(
    ctx: typer.Context,
    model: Model,
    name: Annotated[str, typer.Argument(help="The alias, such as production.")],
    version: Annotated[int | None, typer.Argument(min=1, help="Number of the version.")] = None,
    delete: Annotated[bool, typer.Option(help="Remove the alias instead.")] = False,
) -> None:
    """Point an alias at a version, or remove it."""
    session: Session = ctx.obj
    target = session.name("models", model)
    if delete:
        answer = session.registry.DeleteModelAlias(pb.DeleteModelAliasRequest(name=target, alias=name))
    elif version is None:
        remedy = f"Write `fiveshot models alias {model} {name} VERSION`, or --delete."
        raise InvalidArgument("No version was given", field="version", remedy=remedy)
    else:
        answer = session.registry.SetModelAlias(pb.SetModelAliasRequest(name=target, alias=name, version=version))
    output.print_json(answer) if session.json else show_model(answer)


@app.command()
def delete(
    ctx: typer.Context, model: Model, force: Annotated[bool, typer.Option(help="Delete its versions as well.")] = False
) -> None:
    """Delete a model."""
    session: Session = ctx.obj
    name = session.name("models", model)
    session.registry.DeleteModel(pb.DeleteModelRequest(name=name, force=force))
    output.print_json({"deleted": name}) if session.json else output.say(f"Deleted {name}.")


def download_version(session: Session, version: str, file_id: str, to: Path | None, *, force: bool = False) -> Saved:
    """Downloads a file of a version, under its own name unless `to` says otherwise. Raises NotFound, AlreadyExists."""
    return save_file(session.stubs, version, file_id, to, overwrite=force)


def _version(session: Session, model: str, version: str) -> str:
    """The name of a version, of which the model may say as well which: `cat@2`."""
    model, at, named = model.partition("@")
    return f"{session.name('models', model)}/versions/{(named if at else version) or 'latest'}"


def _aliases(model: model_pb2.Model) -> str:
    return ", ".join(f"{name} → {output.short(target)}" for name, target in sorted(model.aliases.items()))


def show_model(model: model_pb2.Model) -> None:
    """Prints the facts of a model."""
    output.facts(
        [
            ("name", model.name), ("display name", model.display_name), ("description", model.description),
            ("tags", ", ".join(model.tags)), ("labels", labels.shown(model.labels)),
            ("versions", model.version_count), ("aliases", _aliases(model)),
            ("created", output.when(model.create_time)), ("changed", output.when(model.update_time)),
        ]
    )  # fmt: skip


def _loss(version: model_pb2.ModelVersion) -> str:
    return "" if version.lineage.uploaded_file else f"{version.loss:.4f}"


def _show_version(version: model_pb2.ModelVersion) -> None:
    lineage = version.lineage
    output.facts(
        [
            ("name", version.name), ("note", version.description), ("aliases", ", ".join(version.aliases)),
            ("labels", labels.shown(version.labels)),
            ("base model", output.short(lineage.base_model)), ("trigger word", version.trigger_word),
            ("rank, alpha", f"{version.rank}, {version.alpha:g}"), ("loss", _loss(version)),
            ("uploaded file", lineage.uploaded_file), ("epoch", lineage.epoch),
            ("pretended", "yes: nothing was trained" if lineage.pretended else ""),
            ("went on from", lineage.initial_lora), ("dataset version", lineage.dataset_version),
            *(
                ("regularisation pictures" if each.regularization else f"dataset, weight {each.weight:g}",
                 each.dataset_version)
                for each in lineage.datasets
            ),
            ("dataset digest", lineage.dataset_digest[:16]), ("saved", output.when(version.create_time)),
        ]
    )  # fmt: skip
    output.table(
        ("file", "name", ">size", "?sha256"),
        ((f.file_id, f.file_name, output.size(f.size_bytes), f.sha256) for f in version.files),
    )
