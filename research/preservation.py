"""What keeps the base model while it learns a subject: its own pictures, a preservation loss, or pictures of one's own.

Twelve drawn subjects (four kinds in three colourings), five views to train on. Each way trains the same 100 steps of
the catalogue's recipe; the exported LoRA is loaded back through diffusers and measured on six views that are never
trained on, and on six of other subjects of the same kind, whose captions have no trigger word: there it should answer
as the base model does, and not with the subject. Runs that are in the file already are not repeated.

    python -m research.preservation --output build/preservation.jsonl [--kinds mascot,toy] [--hues 0,120,240]
    python -m research.preservation --output build/preservation.jsonl --replay       (what is stored, nothing trained)
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import torch
import typer

from gateway.demo_pictures import KINDS, TRIGGER_WORD, draw_subject
from research.learning import (
    BASE_MODEL,
    Captioned,
    artifact_of,
    encoded,
    fitted,
    load_pipeline,
    loss_of,
    write_items,
)
from services.trainer.engine.job import BaseModelFiles, EpochResult, Hooks, TrainJobSpec
from services.trainer.engine.train_loop import train
from services.trainer.recipe.catalogue import BaseModel, load_catalogue
from services.trainer.recipe.parameters import resolve
from services.trainer.worker.pictures import decode_original

TRAINED_VIEWS, UNSEEN_VIEWS = 5, 6
REPETITIONS = 8
"""Noises and noise levels of each view that is measured."""

WAYS: dict[str, dict[str, object]] = {
    "nothing": {"regularization_fraction": 0.0},
    "base's pictures": {},
    "preservation loss": {"regularization_fraction": 0.0, "preservation_weight": 1.0},
    "own pictures": {},
}
OWN_PICTURES = 12
"""Of other subjects of the kind, as a user would collect them: none of them is measured on."""


@dataclass(frozen=True)
class Run:
    """One subject, one way. subject, others: loss on unseen views of it, and on others of its kind, base first."""

    way: str
    subject: str
    subject_loss: tuple[float, float]
    others_loss: tuple[float, float]
    drift: float
    cpu_seconds: float


def run(way: str, kind: str, hue: int, base: BaseModel) -> Run:
    """Trains one subject and measures it."""
    views = draw_subject(kind, TRAINED_VIEWS + UNSEEN_VIEWS, seed=hue + 1, hue=hue)
    training, unseen = views[:TRAINED_VIEWS], views[TRAINED_VIEWS:]
    noun = KINDS[kind][0]
    parameters = resolve(
        base.specs,
        {
            "trigger_word": TRIGGER_WORD,
            "num_epochs": 1,
            "num_repeats": 160,
            "preview_steps": 1,
            "preservation_class": noun,
            **WAYS[way],
        },
    )
    files = BaseModelFiles(base.id, base.family, base.source, base.architecture, None, base.neutral_prompts)
    epochs: list[EpochResult] = []
    began = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        items = write_items(training, Path(name) / "pictures")
        own = others(kind, hue, OWN_PICTURES, seed=5) if way == "own pictures" else []
        spec = TrainJobSpec(
            files, parameters, items, Path(name) / "run", decode_original, device="cpu", processes=1,
            sample_base_previews=False, regularization=write_items(own, Path(name) / "own"),
        )  # fmt: skip
        train(spec, Hooks(on_epoch=epochs.append))
        seconds = time.process_time() - began
        pipelines = [load_pipeline(base), load_pipeline(base, artifact_of(epochs[-1]))]
    of_subject = _losses(pipelines, unseen, base)
    of_others = _losses(pipelines, others(kind, hue, UNSEEN_VIEWS, seed=9), base)
    return Run(way, f"{kind} {hue}", of_subject, of_others, epochs[-1].evaluation.drift, round(seconds, 1))


def others(kind: str, hue: int, count: int, *, seed: int) -> list[Captioned]:
    """Views of other subjects of the same kind, in three colourings, as the class: without the trigger word."""
    found = []
    for number in range(count):
        (view, caption), *_ = draw_subject(kind, 1, seed=1000 * seed + number, hue=hue + 60 + 120 * (number % 3))
        found.append((view, caption.replace(f"{TRIGGER_WORD} ", "")))
    return found


def _losses(pipelines: Sequence[Any], views: Sequence[Captioned], base: BaseModel) -> tuple[float, float]:
    latents = encoded(pipelines[0], [np.asarray(fitted(view, base)) for view, _ in views])
    before, after = (loss_of(each, latents, [caption for _, caption in views], REPETITIONS) for each in pipelines)
    return before, after


def report(runs: Sequence[Run]) -> None:
    """A line for each way: the means over its subjects."""
    for way in WAYS:
        chosen = [one for one in runs if one.way == way]
        if not chosen:
            continue
        learnt = mean(one.subject_loss[1] / one.subject_loss[0] for one in chosen)
        leaked = mean(one.others_loss[1] / one.others_loss[0] for one in chosen)
        typer.echo(
            f"{way:17} {len(chosen):2} subjects: unseen views {learnt:.1%} of the base's loss, others of the kind"
            f" {leaked:.1%}, drift {mean(one.drift for one in chosen):.2%},"
            f" {mean(one.cpu_seconds for one in chosen):.0f} CPU seconds"
        )


def _stored(path: Path) -> list[Run]:
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines]
    return [
        Run(**{**each, "subject_loss": tuple(each["subject_loss"]), "others_loss": tuple(each["others_loss"])})
        for each in found
    ]


def main(
    output: Annotated[Path, typer.Option(help="File for the numbers, a line a run.")],
    kinds: Annotated[str, typer.Option(help="Kinds of subjects, separated by commas.")] = ",".join(KINDS),
    hues: Annotated[str, typer.Option(help="Colourings of each kind in degrees.")] = "0,120,240",
    ways: Annotated[str, typer.Option(help="Ways, separated by commas.")] = ",".join(WAYS),
    replay: Annotated[bool, typer.Option("--replay", help="Train nothing; report what is stored.")] = False,
) -> None:
    """Compare the ways."""
    torch.set_num_threads(1)
    output.parent.mkdir(parents=True, exist_ok=True)
    runs, base = _stored(output), load_catalogue()[BASE_MODEL]
    known = {(one.way, one.subject) for one in runs}
    asked = [(way, kind, int(hue)) for hue in hues.split(",") for kind in kinds.split(",") for way in ways.split(",")]
    for way, kind, hue in asked if not replay else ():
        if (way, f"{kind} {hue}") in known:
            continue
        runs.append(run(way, kind, hue, base))
        with output.open("a") as file:
            file.write(json.dumps(asdict(runs[-1])) + "\n")
        typer.echo(json.dumps(asdict(runs[-1])))
    report(runs)


if __name__ == "__main__":
    typer.run(main)
