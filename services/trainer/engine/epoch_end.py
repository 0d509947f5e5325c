"""The end of an epoch: checkpoint, previews, files, proof that they load, evaluation, and the pictures of the run."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import torch
from PIL import Image

from services.trainer.engine.checkpoints import save_checkpoint
from services.trainer.engine.export import write_artifacts
from services.trainer.engine.job import EpochResult, PhaseProgress, PreviewImage, Recommendation
from services.trainer.engine.metadata import lora_metadata
from services.trainer.engine.noise import torch_generator
from services.trainer.engine.optimizers import set_mode
from services.trainer.engine.output import contact_sheet, loss_plot
from services.trainer.engine.picture_losses import Unlike, unlike_the_others
from services.trainer.engine.precision import autocast
from services.trainer.engine.preparation import Run
from services.trainer.engine.previews import largest_change, sampled_pictures, write_previews
from services.trainer.engine.recommendation import Named, recommend
from services.trainer.engine.verification import Probe, verify_artifacts
from services.trainer.recipe.phases import Phase

PROBE_SIDE = 32
"""Latents of the side of the piece on which a file is proved, about: a sixteenth of a picture of SDXL."""


def finish_epoch(run: Run, epoch: int, *, last: bool) -> EpochResult:
    """Write and check everything that epoch ``epoch`` (from 1) leaves behind. last: none follows, also by a stop.

    ``run.place`` already counts the epoch as finished; its evaluation is added here, before the checkpoint, so that
    a resumed run recommends from all epochs.
    """
    folder = run.spec.output_dir / "epochs" / f"epoch-{epoch:04d}"
    set_mode(run.state.optimizer, training=False)
    with run.average.in_place():
        with autocast(run.family.device, run.mixed_precision):
            pictures = sampled_pictures(
                run.family, run.previews, lambda step: _report(run, Phase.PREVIEWS, step, run.previews.steps)
            )
        previews = write_previews(pictures, run.previews, folder)
        _report(run, Phase.EVALUATION, 0, 1)
        assert run.evaluator is not None, "only the main process ends epochs"
        base = [Image.open(preview.path) for preview in run.base_previews]
        evaluation = replace(run.evaluator.measure(pictures), preview_change=largest_change(base, pictures))
        _report(run, Phase.FILES, 0, 1)
        artifacts = write_artifacts(
            folder,
            f"{run.spec.title}-{epoch:04d}",
            run.family,
            run.carriers,
            run.spec.parameters,
            lora_metadata(run.spec, run.facts, epoch, run.place.step),
        )
        _report(run, Phase.VERIFICATION, 0, 1)
        with autocast(run.family.device, run.mixed_precision):
            difference = verify_artifacts(artifacts, run.family, run.carriers, run.mixed_precision, _probe(run))
    run.place.evaluations.append(asdict(evaluation))
    set_mode(run.state.optimizer, training=True)
    checkpoint = write_checkpoint(run, f"epoch-{epoch:04d}")
    recommendation = recommended(run, finished=last)
    sheet = _draw(run, epoch, recommendation.epoch, previews)
    steps = run.place.losses[-run.plan.steps.steps_per_epoch :]
    return EpochResult(
        epoch=epoch,
        step=run.place.step,
        mean_loss=sum(steps) / len(steps),
        artifacts=artifacts,
        previews=previews,
        checkpoint_dir=checkpoint,
        evaluation=evaluation,
        max_reload_difference=difference,
        recommendation=recommendation,
        contact_sheet=sheet,
    )


def recommended(run: Run, *, finished: bool) -> Recommendation:
    """The epoch to keep; at the end of a run with the pictures that were learnt unlike the others."""
    unlike = unlike_the_others(run.place.picture_losses) if finished else Unlike((), ())
    names = [item.name or item.image_path.name for item in run.spec.items]
    by_name = Named(*([names[number] for number in numbers] for numbers in (unlike.hardly_learnt, unlike.by_heart)))
    return recommend(run.evaluations, finished=finished, pictures=by_name)


def write_checkpoint(run: Run, name: str) -> Path:
    """Save resumable state as ``checkpoints/<name>`` and drop the older ones, which it replaces."""
    folder = run.spec.output_dir / "checkpoints" / name
    _report(run, Phase.CHECKPOINT, 0, 1)
    save_checkpoint(folder, run.place, run.state)
    run.checkpoint, run.checkpoint_step = folder, run.place.step
    for older in folder.parent.iterdir():
        if older != folder and older != run.spec.resume_from:
            shutil.rmtree(older)
    return folder


def _probe(run: Run) -> Probe:
    """A noised piece of a training latent with its caption: all layers and the text encoder count at any size."""
    bucket, item = run.latents[0], run.plan.buckets[0].items[0]
    multiple = run.family.pixel_multiple // run.family.latent_factor
    side = -(-PROBE_SIDE // multiple) * multiple
    clean = bucket.plain(item)[0][..., :side, :side]
    generator = torch_generator(run.family.device, run.spec.parameters.seed, "probe")
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    position = torch.full((1,), 0.5, device=clean.device)
    schedule = run.family.schedule
    return Probe(schedule.noisy(clean, noise, position), schedule.timesteps(position), (run.captions[item],))


def _draw(run: Run, epoch: int, best: int, previews: tuple[PreviewImage, ...]) -> Path:
    """Draw the contact sheet, whose path is returned, and the loss plot."""
    rows = [("base", [preview.path for preview in run.base_previews])] if run.base_previews else []
    for number in range(1, epoch):
        files = sorted((run.spec.output_dir / "epochs" / f"epoch-{number:04d}").glob("preview-*.png"))
        # A run that was resumed on another machine has no earlier previews; the sheet starts where its files do.
        if files:
            rows.append((_label(run, number, best), files))
    rows.append((_label(run, epoch, best), [preview.path for preview in previews]))
    sheet = run.spec.output_dir / "contact_sheet.png"
    contact_sheet(run.thumbnails, rows, sheet)
    loss_plot(run.place.losses, run.plan.steps.steps_per_epoch, run.spec.output_dir / "loss.png")
    return sheet


def _label(run: Run, epoch: int, best: int) -> str:
    """What stands beside previews: what is left of the base model's error, in per cent as the CLI says it."""
    evaluation = run.evaluations[epoch - 1]
    lines = [f"epoch {epoch}", f"photos {evaluation.photo_error:.0%}"]
    if evaluation.unseen_error is not None:
        lines.append(f"unseen {evaluation.unseen_error:.0%}")
    lines.append(f"drift {evaluation.drift:.1%}")
    return "\n".join([*lines, "best so far"] if epoch == best else lines)


def _report(run: Run, phase: Phase, done: int, total: int) -> None:
    run.hooks.on_phase(PhaseProgress(phase, done, total))
