"""What fine-tuning of fiveshot-tiny learns: four drawn subjects, and photos where a folder of them is given.

Five views are trained with the catalogue's default recipe; three further views are held out. Printed for every
subject: loss on the held-out views and on scenes of the base's own world, for the base and after every epoch, and the
seconds of training. A sheet per subject shows the training views, the base's previews and every epoch's.

    python -m research.learning --output build/learning [--kinds mascot,toy] [--photos DIR --noun dog]
                                  [--set rank=8 --set learning_rate=0.001]

The scenes need the emoji font that pretraining needs: make research-font.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageOps

from gateway.demo_pictures import KINDS, TRIGGER_WORD, draw_subject
from research.fiveshot_tiny.evaluation import contact_sheet, sample_pictures, validation_loss
from research.fiveshot_tiny.latents import LatentSet, encode_pictures
from research.fiveshot_tiny.models import Denoiser
from research.fiveshot_tiny.scenes.compose import draw_scenes
from services.trainer.engine.job import (
    BaseModelFiles,
    EpochResult,
    Hooks,
    PreviewImage,
    StepMetrics,
    TrainItem,
    TrainJobSpec,
)
from services.trainer.engine.train_loop import train
from services.trainer.recipe.catalogue import BaseModel, load_catalogue
from services.trainer.recipe.parameters import resolve
from services.trainer.worker.pictures import decode_original

BASE_MODEL = "fiveshot-tiny"
DOMAIN_SCENES = 128
HELD_OUT_REPETITIONS = 16  # noises and timesteps per held-out view
SUBJECT_PROMPTS = (
    "a photo of sks {noun} on a red background",
    "a photo of sks {noun} in the snow",
    "a photo of sks {noun} on the beach",
    "sks {noun} on a purple background",
    "a small sks {noun} on a white and blue striped background",
    "a photo of sks {noun} at night",
)
NEUTRAL_PROMPTS = (
    "a photo of a dog on a red background",
    "a blue robot in the snow",
    "a panda on a blue background",
    "a mushroom in a meadow",
    "a red van on the beach",
    "an apple on a teal background",
)

Captioned = tuple[Image.Image, str]


@dataclass
class Subject:
    """Views to train on and views to hold out, with their captions."""

    name: str
    noun: str
    training: list[Captioned]
    held_out: list[Captioned]
    drawn: bool = True


@dataclass
class Learned:
    """Losses of the base (first entry) and after every epoch, and where the time went."""

    subject: str
    held_out: list[float] = field(default_factory=list)
    domain: list[float] = field(default_factory=list)
    train_seconds: float = 0.0
    total_seconds: float = 0.0
    steps: int = 0


def drawn_subject(kind: str, seed: int) -> Subject:
    """Five views to train and three to hold out of one of the demo's subjects."""
    views = draw_subject(kind, 8, seed)
    return Subject(kind, KINDS[kind][0], views[:5], views[5:])


def photographed_subject(folder: Path, noun: str) -> Subject:
    """The first five photos of a folder to train, the rest to hold out; with no rest, training photos are measured."""
    photos = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in sorted(folder.glob("*.jp*g"))]
    views = [(ImageOps.fit(photo, (512, 512)), f"a photo of {TRIGGER_WORD} {noun}") for photo in photos]
    return Subject(noun, noun, views[:5], views[5:], drawn=False)


def learn(subject: Subject, base: BaseModel, settings: dict[str, object], folder: Path) -> Learned:
    """Trains one subject by the engine and measures every epoch through the files that it exported."""
    items = write_items(subject.training, folder / "pictures")
    prompts = [prompt.format(noun=subject.noun) for prompt in SUBJECT_PROMPTS[:3]]
    parameters = resolve(base.specs, {"trigger_word": TRIGGER_WORD, "preview_prompts": prompts, **settings})
    files = BaseModelFiles(base.id, base.family, base.source, base.architecture, None, base.neutral_prompts)
    learned = Learned(subject.name)
    before: list[PreviewImage] = []
    epochs: list[EpochResult] = []
    clock = _Clock()
    hooks = Hooks(
        on_base_previews=before.extend, on_step=clock.step, on_epoch=lambda result: epochs.append(clock.epoch(result))
    )
    started = time.monotonic()
    train(TrainJobSpec(files, parameters, items, folder / "run", decode_original, device="cpu"), hooks)
    learned.total_seconds = time.monotonic() - started
    learned.train_seconds, learned.steps = clock.training, epochs[-1].step

    own_world = draw_scenes(DOMAIN_SCENES, seed=77, size=base.resolution)
    pipelines = [load_pipeline(base), *(load_pipeline(base, artifact_of(result)) for result in epochs)]
    for pipeline in pipelines:
        held_out = encoded(pipeline, [np.asarray(fitted(v, base)) for v, _ in subject.held_out or subject.training])
        captions = [caption for _, caption in subject.held_out or subject.training]
        learned.held_out.append(loss_of(pipeline, held_out, captions, HELD_OUT_REPETITIONS))
        learned.domain.append(loss_of(pipeline, encoded(pipeline, list(own_world[0])), own_world[1], 1))
    _write_sheets(subject, base, before, epochs, pipelines, folder)
    return learned


class _Clock:
    """Counts the seconds of training steps alone: from each epoch's first to its last step."""

    def __init__(self) -> None:
        self.training = 0.0
        self._last: float | None = None

    def step(self, _: StepMetrics) -> None:
        now = time.monotonic()
        if self._last is not None:
            self.training += now - self._last
        self._last = now

    def epoch(self, result: EpochResult) -> EpochResult:
        self._last = None
        return result


def write_items(views: Sequence[Captioned], folder: Path) -> tuple[TrainItem, ...]:
    """The views as the engine's pictures, PNG files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for i, (picture, caption) in enumerate(views):
        path = folder / f"{i}.png"
        picture.save(path)
        items.append(TrainItem(path, caption, name=path.name))
    return tuple(items)


def artifact_of(result: EpochResult) -> Path:
    """The epoch's LoRA in diffusers' form."""
    return next(artifact.path for artifact in result.artifacts if artifact.form == "diffusers")


def load_pipeline(base: BaseModel, lora: Path | None = None) -> Any:
    """The base model through diffusers, with a LoRA file if given."""
    pipeline = StableDiffusionPipeline.from_pretrained(base.source, dtype=torch.float32, safety_checker=None)
    if lora:
        pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    return pipeline


def fitted(picture: Image.Image, base: BaseModel) -> Image.Image:
    """The picture at the base model's size."""
    return picture.resize((base.resolution, base.resolution), Image.Resampling.LANCZOS)


def encoded(pipeline: Any, pictures: Sequence[Any]) -> torch.Tensor:
    """Scaled latents (n, c, h, w) of uint8 pictures (h, w, 3)."""
    return encode_pictures(pipeline.vae, np.stack(pictures))


def loss_of(pipeline: Any, latents: torch.Tensor, captions: list[str], repetitions: int) -> float:
    """Mean squared velocity error over all latents, each with several noises and noise levels."""
    scenes = LatentSet(latents.repeat(repetitions, 1, 1, 1), captions * repetitions)
    return validation_loss(Denoiser(pipeline.unet, pipeline.text_encoder, pipeline.tokenizer), scenes)


def _write_sheets(
    subject: Subject,
    base: BaseModel,
    before: list[PreviewImage],
    epochs: list[EpochResult],
    pipelines: list[Any],
    folder: Path,
) -> None:
    """`epochs.jpg`: a column for the base and each epoch, a row a prompt. `moved.jpg`: views (drawn ones only, photos
    stay where they are), the subject's prompts with base and last epoch, neutral prompts with base and last epoch.
    """
    moments = [before, *(list(result.previews) for result in epochs)]
    previews = [Image.open(moment[row].path).convert("RGB") for row in range(len(before)) for moment in moments]
    _save(contact_sheet(previews, len(moments), scale=2), folder / "epochs.jpg")
    columns = len(SUBJECT_PROMPTS)
    shown = (*subject.training, *subject.held_out)[:columns] if subject.drawn else ()
    views = [fitted(view, base) for view, _ in shown]
    first, last = pipelines[0], pipelines[-1]
    prompts = [prompt.format(noun=subject.noun) for prompt in SUBJECT_PROMPTS]
    sheet = [*views, *sample_pictures(first, prompts, seed=300), *sample_pictures(last, prompts, seed=300)]
    sheet += [*sample_pictures(first, NEUTRAL_PROMPTS, seed=400), *sample_pictures(last, NEUTRAL_PROMPTS, seed=400)]
    _save(contact_sheet(sheet, columns, scale=2), folder / "moved.jpg")


def _save(sheet: Image.Image, path: Path) -> None:
    sheet.save(path, quality=90, subsampling=0, optimize=True)


def main(
    output: Annotated[Path, typer.Option(help="Folder for sheets and numbers.")],
    kinds: Annotated[str, typer.Option(help="Drawn subjects, separated by commas.")] = ",".join(KINDS),
    photos: Annotated[Path | None, typer.Option(help="A folder of photos of one subject.")] = None,
    noun: Annotated[str, typer.Option(help="What the photos show.")] = "dog",
    weights: Annotated[Path | None, typer.Option(help="Another folder of the same base, to compare.")] = None,
    seed: int = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A training parameter, as name=value.")] = None,
) -> None:
    """Measure what the default recipe learns."""
    base = load_catalogue()[BASE_MODEL]
    if weights:
        base = replace(base, source=str(weights.absolute()))
    settings = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in set_ or [])}
    subjects = [drawn_subject(kind, seed) for kind in kinds.split(",") if kind]
    if photos:
        subjects.append(photographed_subject(photos, noun))
    output.mkdir(parents=True, exist_ok=True)
    results = []
    for subject in subjects:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            learned = learn(subject, base, settings, folder)
            for sheet in ("epochs", "moved"):
                (folder / f"{sheet}.jpg").replace(output / f"{subject.name}-{sheet}.jpg")
        results.append(asdict(learned))
        typer.echo(
            f"{learned.subject}: held-out {' '.join(f'{x:.4f}' for x in learned.held_out)}; own world "
            f"{' '.join(f'{x:.4f}' for x in learned.domain)} ({learned.domain[-1] / learned.domain[0] - 1:+.1%}); "
            f"{learned.steps} steps in {learned.train_seconds:.0f} s, {learned.total_seconds:.0f} s in all"
        )
    (output / "learning.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
