"""`fiveshot demo`: the main job from five pictures to a kept model, through the gateway, as an outside caller."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as dataset_api
from fiveshot.errors import FailedPrecondition, Internal, InvalidArgument
from fiveshot.folders import Picture, find_pictures
from fiveshot.registry.v1 import model_pb2
from fiveshot.registry.v1 import registry_service_pb2 as registry_api
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as training_api
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.cli import output, report, verdicts, watch
from gateway.cli.epochs import epochs_of
from gateway.cli.faults import Faults
from gateway.cli.models import download_version
from gateway.cli.parameters import parameters
from gateway.cli.session import Session
from gateway.cli.tagging import run_tag_job, suggested_subject
from gateway.cli.transfer import upload_pictures
from gateway.demo_pictures import KINDS, TRIGGER_WORD, draw_subject
from gateway.supervisor import run
from gateway.supervisor.folder import DataFolder

PICTURES = 5
SMALL_BASE = "fiveshot-tiny"
_STEPS = 10


@dataclass
class Story:
    """The demo's course: what was done, how long each step took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announces a step and measures it."""
        output.out.print(f"\n[bold]{len(self.seconds) + 1}/{_STEPS} {title}[/]")
        began = time.monotonic()
        yield
        self.seconds[title] = round(time.monotonic() - began, 2)


def demo(
    ctx: typer.Context,
    images: Annotated[Path | None, typer.Option(help="Folder of your own photos; default: drawn ones.")] = None,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("demo-output"),
    subject: Annotated[str, typer.Option(help="What your photos show, such as dog; default: what is suggested.")] = "",
    kind: Annotated[str, typer.Option(help="Drawn subject: mascot, animal, vehicle or toy.")] = "mascot",
    base_model: Annotated[str, typer.Option("--base-model", "-b", help="Base model to fine-tune.")] = SMALL_BASE,
    epochs: Annotated[int | None, typer.Option("--epochs", "-e", help="Epochs; default: the base model's.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Training parameter NAME=VALUE.")] = None,
    keep: Annotated[bool, typer.Option(help="Keep the stack's data folder.")] = False,
) -> None:
    """Run the main job on five pictures with a stack of its own, then stop everything."""
    outer: Session = ctx.obj
    if outer.json:
        # The story goes to stderr, so that stdout holds one JSON document.
        output.out.stderr = True
    noun = subject if images else KINDS[_known(kind)][0]
    if images is None and base_model == SMALL_BASE:
        # Half the preset's steps, because a demo should be short.
        set_ = ["preset=drawing", "num_repeats=32", *(set_ or [])]
    faults = Faults()
    job_parameters = parameters({"num_epochs": epochs}, set_ or [], [], faults)
    faults.refuse(lambda: None)
    # Before minutes of training: nothing that was made could be put there.
    out.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=out).close()
    began = time.monotonic()
    story = Story()
    data = Path(tempfile.mkdtemp(prefix="fiveshot-demo-"))
    folder = DataFolder(data)
    try:
        pictures = find_pictures([images]).pictures if images else _drawn(kind, data / "pictures")
        with story.step("Start the stack"):
            state = run.detach(folder, tied=True)
            output.say(f"ready after {state.ready_seconds:.1f} s on {state.server}")
        session = Session(state.server, folder.credentials().api_key, data=data)
        try:
            summary = _main_job(session, story, pictures, noun, out, base_model, job_parameters)
        finally:
            session.close()
        with story.step("Stop everything"):
            run.stop(folder)
    finally:
        run.stop(folder)
        if keep:
            output.say(f"The stack's data stays in {data}; look at it with `fiveshot --data {data} up`.")
        else:
            shutil.rmtree(data, ignore_errors=True)
    summary |= {"seconds": round(time.monotonic() - began, 1), "steps": story.seconds}
    output.print_json(summary) if outer.json else _tell(summary)


def _main_job(
    session: Session, story: Story, pictures: list[Picture], noun: str, out: Path, base_model: str,
    job_parameters: training_job_pb2.TrainingParameters,
) -> dict[str, Any]:  # fmt: skip
    """From an empty project to sampled pictures; returns the facts for the summary. noun: "" asks the tagger for it."""
    with story.step("Create a dataset and upload the pictures"):
        fields = dataset_pb2.Dataset(display_name="Demo", trigger_word=TRIGGER_WORD)
        request = dataset_api.CreateDatasetRequest(parent=session.parent, dataset_id="demo", dataset=fields)
        dataset = session.dataset.CreateDataset(request)
        uploaded = upload_pictures(session, dataset.name, pictures)
        output.say(f"{dataset.name}: {len(uploaded.images)} uploaded, {len(uploaded.refused)} refused")
        if not uploaded.images:
            raise FailedPrecondition("No picture was accepted", remedy="Give --images a folder with png or jpg photos.")
    with story.step("Caption and tag them, then edit the tags of one"):
        noun = noun or _suggested(session, dataset.name)
        _caption(session, uploaded.images, noun)
        run_tag_job(session, dataset.name, {"prepend_trigger_word": True})
        _edit_one(session, dataset.name, uploaded.images[0].name)
    with story.step("Freeze a version"):
        version = session.dataset.CreateDatasetVersion(dataset_api.CreateDatasetVersionRequest(parent=dataset.name))
        output.say(f"{version.name}: {version.image_count} pictures, digest {version.digest[:16]}")
    with story.step(f"Train {base_model}: one LoRA and three previews an epoch"):
        if noun and not job_parameters.preview_prompts:
            job_parameters.preview_prompts.extend(_prompts(noun))
        job = _train(session, version.name, base_model, job_parameters)
    with story.step("Draw the loss and the contact sheet"):
        drawn = report.draw(session, job.name, out, force=True)
        output.say(", ".join(map(str, drawn)))
    epochs = epochs_of(session, job.name)
    best = next((epoch for epoch in epochs if epoch.recommended), epochs[-1])
    with story.step(f"Save epoch {output.short(best.name)} to a new model repository"):
        save = registry_api.SaveEpochRequest(
            parent=session.parent, epoch=best.name, model_id="demo", create_model=True, display_name="Demo"
        )
        kept = session.registry.SaveEpoch(save, timeout=300)
        output.say(f"{kept.name}, from {kept.lineage.dataset_version}")
    with story.step("Download the file"):
        saved = download_version(session, kept.name, "kohya", out / "demo.safetensors", force=True)
        output.say(f"{saved.path}: {output.size(saved.size)}, sha256 {saved.sha256[:16]}…")
    with story.step("Load it with diffusers and sample"):
        picture = _sample(saved.path, out / "sample.png", base_model, best)
        output.say(str(picture))
    return _summary(job, epochs, best, kept, saved.path, [*drawn, picture])


def _suggested(session: Session, dataset: str) -> str:
    """The noun that the tagger suggests, "" where it is not sure."""
    suggestion = suggested_subject(session, dataset)
    output.say(suggestion.question)
    return suggestion.subject


def _caption(session: Session, images: list[dataset_pb2.Image], noun: str) -> None:
    """The trigger word and the noun as the caption of every picture that has none."""
    for image in images:
        if not image.caption:
            changed = dataset_pb2.Image(name=image.name, caption=f"a photo of {TRIGGER_WORD} {noun}".strip())
            session.dataset.UpdateImage(
                dataset_api.UpdateImageRequest(image=changed, update_mask=FieldMask(paths=["caption"]))
            )


def _edit_one(session: Session, dataset: str, image: str) -> None:
    """Shows one picture's tags, adds one by hand, and shows them again."""
    _show_tags(session, image)
    name = session.dataset.GetImage(dataset_api.GetImageRequest(name=image)).file_name
    edit = dataset_api.EditTagsRequest(
        parent=dataset, filter=f'file_name = "{name}"', edits=[dataset_api.TagEdit(add="edited by hand")]
    )
    answer = session.dataset.EditTags(edit)
    output.say(f"{answer.changed_images} picture edited")
    _show_tags(session, image)


def _show_tags(session: Session, image: str) -> None:
    record = session.dataset.GetImage(dataset_api.GetImageRequest(name=image))
    tags = ", ".join(f"{tag.label} ({output.enum_name(tag, 'source')})" for tag in record.tags)
    output.say(f"{record.file_name}: {tags}")


def _train(
    session: Session, version: str, base_model: str, job_parameters: training_job_pb2.TrainingParameters
) -> training_job_pb2.TrainingJob:
    job = training_job_pb2.TrainingJob(
        base_model=f"baseModels/{base_model}", dataset_version=version, display_name="Demo", parameters=job_parameters
    )
    created = session.trainer.CreateTrainingJob(
        training_api.CreateTrainingJobRequest(parent=session.parent, training_job=job)
    )
    output.say(f"{created.name}: {created.total_steps} steps over {created.parameters.num_epochs} epochs")
    ended = watch.follow(session, created.name)
    if ended.state != training_job_pb2.TrainingJob.STATE_SUCCEEDED:
        error = ended.error
        raise Internal(error.message or "The training did not succeed", remedy=error.remedy, reason=error.reason)
    return ended


def _sample(lora: Path, picture: Path, base_model: str, epoch: training_job_pb2.Epoch) -> Path:
    """In a process of its own, because the command line itself loads no torch."""
    command = [
        sys.executable, "-P", "-m", "services.trainer.engine.sample",
        "--base-model", base_model, "--lora", str(lora),
        "--out", str(picture), "--seed", "7",
    ]  # fmt: skip
    catalogue = os.environ.get("FIVESHOT_CATALOGUE")
    command += ["--catalogue", catalogue] if catalogue else []
    for preview in epoch.previews:
        command += ["--prompt", preview.prompt]
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Internal(f"diffusers could not use the file: {last}", reason="SAMPLE_FAILED")
    return picture


def _prompts(noun: str) -> list[str]:
    """One prompt near the training pictures and two that move the subject to where it never was."""
    places = ("on a blue background", "in the snow", "on the beach")
    return [f"a photo of {TRIGGER_WORD} {noun} {place}" for place in places]


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise InvalidArgument(
            f"'{kind}' is not a drawn subject", field="kind", remedy=f"Use one of {', '.join(KINDS)}."
        )
    return kind


def _drawn(kind: str, folder: Path) -> list[Picture]:
    """Five drawn views of a subject that the base model has never seen."""
    folder.mkdir()
    paths = []
    for number, (picture, _) in enumerate(draw_subject(kind, PICTURES, seed=5), start=1):
        path = folder / f"{kind}-{number}.png"
        picture.save(path)
        paths.append(Picture(path))
    return paths


def _summary(
    job: training_job_pb2.TrainingJob, epochs: list[training_job_pb2.Epoch], best: training_job_pb2.Epoch,
    kept: model_pb2.ModelVersion, lora: Path, files: list[Path],
) -> dict[str, Any]:  # fmt: skip
    return {
        "trainingJob": job.name,
        "images": job.image_count,
        "totalSteps": job.total_steps,
        "epochs": [_epoch_facts(epoch) for epoch in epochs],
        "savedEpoch": int(output.short(best.name)),
        "reason": job.recommendation_reason,
        "modelVersion": kept.name,
        "lora": str(lora),
        "files": [str(path) for path in files],
    }


def _epoch_facts(epoch: training_job_pb2.Epoch) -> dict[str, Any]:
    return {
        "epoch": int(output.short(epoch.name)),
        "loss": epoch.loss,
        "photoError": epoch.evaluation.photo_error,
        **verdicts.measures(epoch),
        "recommended": epoch.recommended,
    }


def _tell(summary: dict[str, Any]) -> None:
    output.out.print("\n[bold]Summary[/]")
    rows = (
        (each["epoch"], *(each[name] for name in verdicts.MEASURES), "←" if each["recommended"] else "")
        for each in summary["epochs"]
    )
    output.table((*verdicts.COLUMNS[:-1], "recommended"), rows)
    output.facts(
        [
            ("saved", f"epoch {summary['savedEpoch']} as {summary['modelVersion']}"), ("because", summary["reason"]),
            ("steps", summary["totalSteps"]), ("LoRA", summary["lora"]), ("pictures", ", ".join(summary["files"])),
            ("time", output.duration(summary["seconds"])),
        ]
    )  # fmt: skip
    slow = sorted(summary["steps"].items(), key=lambda item: -item[1])
    output.facts([(title, output.duration(seconds)) for title, seconds in slow], title="Where the time went")
