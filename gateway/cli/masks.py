"""`fiveshot dataset mask`: what of a picture a masked loss trains, found or given, seen over the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.errors import AlreadyExists, InvalidArgument, NotFound
from fiveshot.sync.masks import upload_mask
from fiveshot.sync.transfer import content
from fiveshot.tagger.v1 import tagger_service_pb2 as tagger_api
from rich.progress import Progress

from gateway.cli import lookup, output
from gateway.cli.crops import Images
from gateway.cli.dataset import PICTURES, Dataset, app
from gateway.cli.pictures import CELL
from gateway.cli.session import Session
from gateway.cli.sheets import Entry, check_sheet, draw_sheet, save_sheet, veiled

_BATCH, _BATCH_BYTES = 100, 4 << 20
_EACH_S = 30.0
_MASK_ENDING = "-masklabel"


@app.command(rich_help_panel=PICTURES)
def mask(
    ctx: typer.Context,
    dataset: Dataset,
    images: Images = None,
    auto: Annotated[bool, typer.Option("--auto", help="Find the subject; keeps masks that are set.")] = False,
    take: Annotated[
        Path | None,
        typer.Option("--from", help="A mask's PNG file for one picture, or a folder with NAME.png for each."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take masks away.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="With --auto: replace masks that are set.")] = False,
    save: Annotated[Path | None, typer.Option(help="Write the masks into this folder, as NAME.png.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Draw the pictures and their masks into this file.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Show what would change; write nothing.")] = False,
    force: Annotated[bool, typer.Option(help="Overwrite the sheet's file and saved masks.")] = False,
) -> None:
    """Mask pictures for a masked loss, all or some; without an option, list the masks."""
    session: Session = ctx.obj
    if sum((auto, take is not None, clear)) > 1:
        raise InvalidArgument("More than one way to mask is given", remedy="Give --auto, --from or --clear.")
    if sheet is not None:
        check_sheet(sheet, force=force)
    name = session.name("datasets", dataset)
    chosen = lookup.images_to_change(session, name, images or (), change=auto or clear or take is not None)
    wanted: dict[str, pb.SetImageMaskRequest] = {}
    if auto:
        wanted = _suggested(session, name, [each for each in chosen if replace or images or not each.HasField("mask")])
    elif take is not None:
        wanted = _from_files(take, chosen)
    elif clear:
        wanted = {each.name: _request(each) for each in chosen if each.HasField("mask")}
    after = chosen if dry_run else _applied(session, name, chosen, list(wanted.values()))
    if save is not None:
        _save(session, after, save, force=force)
    if sheet is not None:
        given = {image: request.png for image, request in wanted.items()} if dry_run else {}
        save_sheet(draw_sheet(f"{output.short(name)}: pictures and masks", _entries(session, after, given)), sheet)
    if session.json:
        output.print_json({
            "changed": list(wanted), "dryRun": dry_run,
            "images": [
                {"image": each.name, "fileName": each.file_name,
                 "mask": output.to_json(each.mask) if each.HasField("mask") else None}
                for each in after
            ],
        })  # fmt: skip
        return
    _tell(after)
    if auto or clear or take is not None:
        output.say(f"{len(wanted)} of {len(chosen)} pictures {'would change' if dry_run else 'changed'}.")
    if wanted and not dry_run:
        output.next_step(
            session, f"fiveshot train start {output.short(name)} --set masked_loss=true   (or dataset undo)"
        )
    if sheet is not None:
        output.say(f"Sheet: {sheet}")


def _suggested(
    session: Session, dataset: str, images: Sequence[dataset_pb2.Image]
) -> dict[str, pb.SetImageMaskRequest]:
    found: dict[str, pb.SetImageMaskRequest] = {}
    by_name = {each.name: each for each in images}
    quiet = session.json or not output.err.is_terminal
    looking = Progress(console=output.err, transient=True, disable=quiet)
    with output.explained("No mask was changed."), looking as progress:
        bar = progress.add_task("looking", total=len(images))
        for start in range(0, len(images), _BATCH):
            part = [each.name for each in images[start : start + _BATCH]]
            asked = tagger_api.SuggestMasksRequest(dataset=dataset, images=part)
            for each in session.tagger.SuggestMasks(asked, timeout=_EACH_S * len(part)):
                progress.advance(bar)
                if each.HasField("error"):
                    output.say_error(f"{by_name[each.image].file_name}: {each.error.message}")
                elif not each.png:
                    output.note(f"{by_name[each.image].file_name}: nothing stands out; it stays without a mask.")
                else:
                    found[each.image] = _request(by_name[each.image], each.png, tagger=each.tagger)
    return found


def _from_files(path: Path, images: Sequence[dataset_pb2.Image]) -> dict[str, pb.SetImageMaskRequest]:
    """The masks in a folder by the stems of their pictures; or one file for one picture. Raises NotFound."""
    if path.is_file():
        if len(images) != 1:
            raise InvalidArgument(
                "--from names one mask for several pictures", field="images",
                remedy="Name the picture, or give a folder with a mask called as each picture.",
            )  # fmt: skip
        files = {Path(images[0].file_name).stem.lower(): path}
    elif path.is_dir():
        files = {
            each.stem.lower().removesuffix(_MASK_ENDING): each
            for each in sorted(path.iterdir()) if each.suffix.lower() == ".png"
        }  # fmt: skip
    else:
        raise NotFound(f"There is no file {path}", field="from", remedy="Check the path.")
    found = {
        each.name: _request(each, _read(files[stem]))
        for each in images if (stem := Path(each.file_name).stem.lower()) in files
    }  # fmt: skip
    if not found:
        raise NotFound(
            f"{path} holds no mask of these pictures", field="from",
            remedy="Call each mask as its picture: dog-01.png or dog-01-masklabel.png for dog-01.jpg.",
        )  # fmt: skip
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"{path} cannot be read: {error.strerror}", field="from", remedy="Check its permissions."
        ) from error


def _request(image: dataset_pb2.Image, png: bytes = b"", *, tagger: str = "") -> pb.SetImageMaskRequest:
    source = dataset_pb2.MASK_SOURCE_SUGGESTED if tagger else dataset_pb2.MASK_SOURCE_UPLOADED
    return pb.SetImageMaskRequest(name=image.name, png=png, etag=image.etag, source=source, tagger=tagger)


def _applied(
    session: Session, dataset: str, images: Sequence[dataset_pb2.Image], requests: Sequence[pb.SetImageMaskRequest]
) -> list[dataset_pb2.Image]:
    changed: dict[str, dataset_pb2.Image] = {}
    batch: list[pb.SetImageMaskRequest] = []

    def send() -> None:
        if batch:
            answer = session.dataset.BatchSetImageMasks(pb.BatchSetImageMasksRequest(parent=dataset, requests=batch))
            changed.update({each.name: each for each in answer.images})
            batch.clear()

    for request in requests:
        if len(request.png) > _BATCH_BYTES // 4:
            # Larger than one entry of a batch may be.
            changed[request.name] = upload_mask(session.stubs, request.name, request.png, etag=request.etag)
            continue
        if len(batch) == _BATCH or sum(len(each.png) for each in batch) + len(request.png) > _BATCH_BYTES:
            send()
        batch.append(request)
    send()
    return [changed.get(each.name, each) for each in images]


def _save(session: Session, images: Sequence[dataset_pb2.Image], folder: Path, *, force: bool) -> None:
    for each in images:
        if not each.HasField("mask"):
            continue
        path = folder / f"{Path(each.file_name).stem}.png"
        if path.exists() and not force:
            raise AlreadyExists(f"{path} already exists", field="save", remedy="Choose another folder, or use --force.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_stored(session, each))
        except OSError as error:
            raise InvalidArgument(
                f"{path} cannot be written: {error.strerror}", field="save", remedy="Choose another place."
            ) from error
        output.say(f"Saved {path}")


def _stored(session: Session, image: dataset_pb2.Image) -> bytes:
    request = pb.DownloadImageRequest(name=image.name, view=pb.DownloadImageRequest.VIEW_MASK)
    return content(session.stubs.channel, lambda: session.dataset.DownloadImage(request), sha256=image.mask.sha256)


def _tell(images: Sequence[dataset_pb2.Image]) -> None:
    rows = ((each.file_name, f"{each.width}×{each.height}", *_words(each)) for each in images)
    output.table(("file", ">pixels", ">masked", "from"), rows)


def _words(image: dataset_pb2.Image) -> tuple[str, str]:
    if not image.HasField("mask"):
        return "", ""
    suggested = image.mask.source == dataset_pb2.MASK_SOURCE_SUGGESTED
    return f"{image.mask.covered_share:.0%}", f"suggested by {image.mask.tagger}" if suggested else "uploaded"


def _entries(session: Session, images: Sequence[dataset_pb2.Image], given: dict[str, bytes]) -> list[Entry]:
    """Each picture beside what its mask leaves of it. given: masks that are not set yet, by the image's name."""
    entries = []
    for each in images:
        scale = min(1.0, CELL / max(each.width, each.height))
        request = pb.DownloadImageRequest(
            name=each.name, view=pb.DownloadImageRequest.VIEW_CROP,
            crop=dataset_pb2.Crop(left=0, top=0, right=1, bottom=1),
            width=max(1, round(each.width * scale)), height=max(1, round(each.height * scale)),
        )  # fmt: skip
        picture = b"".join(part.chunk for part in session.dataset.DownloadImage(request))
        png = given.get(each.name) or (_stored(session, each) if each.HasField("mask") else b"")
        share, source = _words(each)
        said = f"{share} masked, {source}" if share else "would be masked" if png else "no mask: all of it is trained"
        entries.append(Entry([picture, veiled(picture, png) if png else picture], [each.file_name, said]))
    return entries
