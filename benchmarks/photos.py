"""How often the recommended epoch is the right one on photographs, one of which is always kept out of training.

PHOTOS holds a folder of JPEG files for each subject, named after it (`rc_car`, `cat2`: the last word is the caption's
noun). Every epoch's exported LoRA is loaded back through diffusers and measured on the photo that was kept out, at 64
noise levels. Everything that the engine measured is written too, so that another rule can be tried without training.

    python -m benchmarks.photos PHOTOS --output build/photos.jsonl [--subjects dog,clock] [--leave -1,0] [--set rank=8]
    python -m benchmarks.photos PHOTOS --output build/photos.jsonl --replay      (the rule of now over what is stored)
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy
import torch
import typer
from PIL import Image, ImageOps

from services.trainer.engine.copies import CopyDetector
from services.trainer.engine.evaluation import Evaluator, Example
from services.trainer.engine.families import load_family
from services.trainer.engine.job import BaseModelFiles, EpochResult, Evaluation, Hooks, TrainItem, TrainJobSpec
from services.trainer.engine.recommendation import recommend
from services.trainer.engine.train_loop import train
from services.trainer.recipe.catalogue import BaseModel, load_catalogue
from services.trainer.recipe.parameters import resolve
from services.trainer.recipe.workload import EvaluationSamples
from services.trainer.worker.pictures import decode_original

BASE_MODEL, TRIGGER_WORD = "fiveshot-tiny", "sks"
LEVELS = 64
NEAR = 0.02
SIDE = 512


@dataclass
class Run:
    """A subject without one photo. base, held_out: loss on that photo, of each epoch; evaluations: the engine's own."""

    subject: str
    left_out: int
    base: float
    held_out: list[float]
    evaluations: list[dict[str, Any]]
    cpu_seconds: float

    @property
    def recommended(self) -> int:
        return recommend([Evaluation(**values) for values in self.evaluations], finished=True).epoch

    def excess(self, epoch: int) -> float:
        """Share by which an epoch's loss lies above the best epoch's."""
        return self.held_out[epoch - 1] / min(self.held_out) - 1.0


def study(folder: Path, left_out: int, base: BaseModel, settings: dict[str, object]) -> Run:
    """Train on all photos of a folder but one, and measure every epoch on that one."""
    photos = [
        ImageOps.fit(ImageOps.exif_transpose(Image.open(path)).convert("RGB"), (SIDE, SIDE))
        for path in sorted(folder.glob("*.jp*g"))
    ]
    left_out %= len(photos)
    caption = f"a photo of {TRIGGER_WORD} {folder.name.split('_')[-1].rstrip('0123456789')}"
    files = BaseModelFiles(base.id, base.family, base.source, base.architecture, None, base.neutral_prompts)
    parameters = resolve(base.specs, {"trigger_word": TRIGGER_WORD, "hold_out": False, **settings})
    epochs: list[EpochResult] = []
    with tempfile.TemporaryDirectory() as name:
        items = []
        for number, photo in enumerate(photos):
            photo.save(Path(name) / f"{number}.png")
            if number != left_out:
                items.append(TrainItem(Path(name) / f"{number}.png", caption, name=f"{number}.png"))
        spec = TrainJobSpec(
            files, parameters, tuple(items), Path(name) / "run", decode_original, device="cpu", processes=1,
            sample_base_previews=False,
        )  # fmt: skip
        began = time.process_time()
        train(spec, Hooks(on_epoch=epochs.append))
        seconds = time.process_time() - began
        loras = [next(file.path for file in each.artifacts if file.form == "diffusers") for each in epochs]
        losses = unseen_losses(files, base.resolution, photos[left_out], caption, loras)
    evaluations = [asdict(each.evaluation) for each in epochs]
    return Run(folder.name, left_out, losses[0], losses[1:], evaluations, round(seconds, 1))


def unseen_losses(
    files: BaseModelFiles, side: int, photo: Image.Image, caption: str, loras: Sequence[Path]
) -> list[float]:
    """Loss on a photo of the base model and with each LoRA, on the same noise."""
    family = load_family(files, torch.device("cpu"), torch.float32)
    small = numpy.array(photo.resize((side, side), Image.Resampling.LANCZOS))
    pixels = torch.from_numpy(small)[None].permute(0, 3, 1, 2).float() / 127.5 - 1.0
    with torch.no_grad():
        latent = family.encode_pixels(pixels).mean
    samples = EvaluationSamples(fit=LEVELS, moved=0, held_out=0, drift=0)
    judge = Evaluator(family, 1, "no", samples, [Example(latent, caption)], [], [], [], CopyDetector([photo]))
    losses = [judge.measure([]).fit_loss]
    pipeline = family.pipeline()
    for lora in loras:
        pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name)
        losses.append(judge.measure([]).fit_loss)
        pipeline.unload_lora_weights()
    return losses


def report(runs: Sequence[Run]) -> None:
    """A line a run, and what they come to."""
    for run in runs:
        losses = " ".join(f"{loss:.3f}" for loss in run.held_out)
        best = run.held_out.index(min(run.held_out)) + 1
        missed = "" if run.excess(run.recommended) <= NEAR else f" (missed by {run.excess(run.recommended):.1%})"
        typer.echo(
            f"{run.subject} without {run.left_out}: {run.base:.3f}: {losses}; best {best},"
            f" recommended {run.recommended}{missed}, {run.cpu_seconds:.0f} s"
        )
    for title, epochs in (
        ("recommended", [run.recommended for run in runs]),
        ("last", [len(run.held_out) for run in runs]),
    ):
        excess = [run.excess(epoch) for run, epoch in zip(runs, epochs, strict=True)]
        right = sum(each <= NEAR for each in excess)
        worse = sum(run.held_out[epoch - 1] > run.base for run, epoch in zip(runs, epochs, strict=True))
        typer.echo(
            f"{title}: right {right} of {len(runs)}, excess {sum(excess) / len(excess):.1%} on average,"
            f" {max(excess):.1%} at worst, worse than the base {worse}"
        )


def main(
    photos: Annotated[Path, typer.Argument(help="Folder with a folder of photos for each subject.")],
    output: Annotated[Path, typer.Option(help="File that runs are added to, a line of JSON each.")],
    subjects: Annotated[str, typer.Option(help="Names of subjects, separated by commas; all when empty.")] = "",
    leave: Annotated[str, typer.Option(help="Numbers of the photos that are kept out in turn.")] = "-1",
    set_: Annotated[list[str], typer.Option("--set", help="A parameter, as name=value in JSON.")] = [],  # noqa: B006
    replay: Annotated[bool, typer.Option("--replay", help="Train nothing; judge what is stored.")] = False,
) -> None:
    """Compare the recommended epoch with the best and with the last."""
    torch.set_num_threads(1)
    base = load_catalogue()[BASE_MODEL]
    settings = {name: json.loads(value) for name, value in (each.split("=", 1) for each in set_)}
    wanted = subjects.split(",") if subjects else [path.name for path in photos.iterdir() if path.is_dir()]
    folders = [photos / name for name in sorted(wanted)]
    if not replay:
        output.parent.mkdir(parents=True, exist_ok=True)
        for left_out in map(int, leave.split(",")):
            for folder in folders:
                run = study(folder, left_out, base, settings)
                with output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(run)) + "\n")
    report([Run(**json.loads(line)) for line in output.read_text(encoding="utf-8").splitlines()])


if __name__ == "__main__":
    typer.run(main)
