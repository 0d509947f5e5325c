"""`fiveshot dataset …` for words: tags by a tagger or by hand, and the subject that the pictures share."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.errors import InvalidArgument
from fiveshot.sync.calls import pages

from gateway.cli import labels, lookup, output
from gateway.cli.completion import captioners
from gateway.cli.dataset import WORDS, Dataset, Filter, app
from gateway.cli.session import Session
from gateway.cli.tagging import caption_options, run_tag_job, suggested_subject
from gateway.cli.texts import tell_competition


@app.command(rich_help_panel=WORDS)
def tag(
    ctx: typer.Context,
    dataset: Dataset,
    tagger: Annotated[str, typer.Option(help="Tagger to use; the default one when empty.")] = "",
    threshold: Annotated[
        float | None, typer.Option(help="Minimum score of what pictures show, 0 to 1; instant where they were tagged.")
    ] = None,
    category_threshold: Annotated[
        list[str] | None, typer.Option(help="CATEGORY=SCORE, such as colour=0.3; repeatable.")
    ] = None,
    max_tags: Annotated[int, typer.Option(help="Maximum number of tags per image; 0 means 30.")] = 0,
    exclude: Annotated[list[str] | None, typer.Option(help="Label to leave out; repeatable; * is a wildcard.")] = None,
    prepend: Annotated[list[str] | None, typer.Option(help="Label to put first; repeatable.")] = None,
    trigger: Annotated[bool, typer.Option(help="Put the dataset's trigger word and subject first.")] = True,
    mode: Annotated[str, typer.Option(help="skip, append or overwrite-auto.")] = "append",
    captioner: Annotated[
        str, typer.Option(help="Write captions with this captioner instead of tags.", autocompletion=captioners)
    ] = "",
    purpose: Annotated[str, typer.Option(help="What the captions are for: thing, person or style.")] = "thing",
    subject: Annotated[str, typer.Option(help="What captions name, such as dog; default: the dataset's subject.")] = "",
    avoid: Annotated[list[str] | None, typer.Option(help="Word that no caption may hold; repeatable.")] = None,
    base_model: Annotated[str, typer.Option(help="Base model whose token limit the captions keep.")] = "",
    filter: Filter = "",
    dry_run: Annotated[bool, typer.Option(help="Show what would change; write nothing.")] = False,
    label: labels.Label = None,
) -> None:
    """Tag all pictures, or caption them; manual edits are never overwritten."""
    session: Session = ctx.obj
    options: dict[str, Any] = {
        "tagger": tagger, "threshold": threshold, "max_tags": max_tags, "exclude": exclude or [],
        "prepend": prepend or [], "prepend_trigger_word": trigger, "mode": mode,
        "category_thresholds": _thresholds(category_threshold or []),
    }  # fmt: skip
    if captioner:
        asked = caption_options(session, purpose=purpose, subject=subject, avoid=avoid or [], base_model=base_model)
        options = {"tagger": tagger, "mode": mode, "captioner": captioner, "caption": asked}
    name = session.name("datasets", dataset)
    job = run_tag_job(session, name, options, filter=filter, dry_run=dry_run, own=labels.parsed(label))
    if not session.json:
        request = pb.ListImagesRequest(parent=name)
        tell_competition(session, list(pages(session.dataset.ListImages, request, "images", 0)))
        output.next_step(session, f"fiveshot dataset show {output.short(name)} --texts")
    if job.failed_images or output.enum_name(job, "state") != "succeeded":
        raise typer.Exit(output.FAILED)


@app.command("suggest-subject", rich_help_panel=WORDS)
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
    if answer.subject:
        output.next_step(session, f"fiveshot dataset update {dataset} --subject {shlex.quote(answer.subject)}")


@app.command("edit-tags", rich_help_panel=WORDS)
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
    if not edits:
        raise InvalidArgument("No change was given", remedy='Give at least one option, such as --add "red collar".')
    name = session.name("datasets", dataset)
    request = pb.EditTagsRequest(parent=name, filter=filter, edits=edits, validate_only=dry_run)
    named = [*(remove or []), *(edit.replace.old_label for edit in edits if edit.HasField("replace"))]
    unknown = unknown_labels(session, name, named)
    answer = session.dataset.EditTags(request)
    if session.json:
        output.print_json({**output.to_json(answer), "unknownLabels": unknown})
        return
    would = "would change" if dry_run else "changed"
    output.say(f"{answer.changed_images} of {answer.matched_images} pictures {would}.")
    for label, remedy in unknown.items():
        output.note(f"No picture has the tag '{label}'. {remedy or f'`fiveshot dataset tags {dataset}` lists them.'}")


@app.command(rich_help_panel=WORDS)
def tags(ctx: typer.Context, dataset: Dataset) -> None:
    """Count the labels of a dataset."""
    session: Session = ctx.obj
    answer = session.dataset.ListTagStats(pb.ListTagStatsRequest(parent=session.name("datasets", dataset)))
    if session.json:
        output.print_json(answer)
        return
    output.table(("label", ">pictures", ">by hand"), ((s.label, s.image_count, s.manual_count) for s in answer.stats))


def _thresholds(given: Iterable[str]) -> dict[str, float]:
    found = {}
    for text in given:
        category, separator, score = text.partition("=")
        try:
            found[category.strip()] = float(score)
        except ValueError:
            separator = ""
        if not separator:
            raise InvalidArgument(
                f"'{text}' is not CATEGORY=SCORE", field="category_threshold",
                remedy="Write --category-threshold colour=0.3; `fiveshot taggers --json` lists the categories.",
            )  # fmt: skip
    return found


def _replacement(text: str) -> pb.TagEdit:
    old, separator, new = text.partition("=")
    if not separator:
        raise InvalidArgument(f"'{text}' is not OLD=NEW", field="replace", remedy="Write --replace 'cat=dog'.")
    return pb.TagEdit(replace=pb.TagReplacement(old_label=old, new_label=new))


def unknown_labels(session: Session, dataset: str, labels: Iterable[str]) -> dict[str, str]:
    """Those labels that no picture has, with the nearest that one has; compared as the service compares them."""
    wanted = {label.replace("_", " ").strip().casefold(): label for label in labels}
    if not wanted:
        return {}
    stats = session.dataset.ListTagStats(pb.ListTagStatsRequest(parent=dataset)).stats
    known = {each.label.replace("_", " ").casefold(): each.label for each in stats}
    return {label: lookup.did_you_mean(label, known.values()) for key, label in wanted.items() if key not in known}
