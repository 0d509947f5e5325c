"""How often the recommended epoch is within 2% of the best on views not trained on, and how often the last one is.

Twelve drawn subjects (four kinds in three colourings), five views to train on, six held out. Three recipes: the
catalogue's default, its preset for drawn subjects, and one that trains too hard (no regularisation pictures, a higher
rate, more epochs, noise levels spread evenly), where the last epoch is past its best. Every epoch's exported LoRA is
loaded back through diffusers and measured on the held-out views.

    python -m research.evaluation --output build/evaluation [--kinds mascot,toy] [--hues 0,120,240]
    python -m research.evaluation --output build/evaluation --replay      (the rule of now over the stored numbers)
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gateway.demo_pictures import KINDS, TRIGGER_WORD, draw_subject
from research.learning import BASE_MODEL, artifact_of, encoded, fitted, load_pipeline, loss_of, write_items
from services.trainer.engine.job import BaseModelFiles, EpochResult, Evaluation, Hooks, TrainJobSpec
from services.trainer.engine.recommendation import recommend
from services.trainer.engine.train_loop import train
from services.trainer.recipe.catalogue import BaseModel, load_catalogue
from services.trainer.recipe.parameters import resolve
from services.trainer.worker.pictures import decode_original

TRAINED_VIEWS, HELD_OUT_VIEWS = 5, 6
REPETITIONS = 8  # noises and noise levels per held-out view
NEAR = 0.02
RECIPES: dict[str, dict[str, object]] = {
    "default": {"preview_steps": 8},
    "drawing": {"preview_steps": 8, "preset": "drawing"},
    "too hard": {
        "preview_steps": 8,
        "num_epochs": 6,
        "num_repeats": 32,
        "regularization_fraction": 0.0,
        "learning_rate": 2e-3,
        "lr_scheduler": "constant",
        "timestep_shift": 0.0,
    },
}


@dataclass
class Study:
    """One subject under one recipe. evaluations: what the engine measured; held_out: the truth; per epoch."""

    recipe: str
    subject: str
    base: float
    held_out: list[float]
    evaluations: list[dict[str, Any]]

    @property
    def recommended(self) -> int:
        """The epoch that the rule picks."""
        return recommend([Evaluation(**values) for values in self.evaluations], finished=True).epoch

    def near_best(self, epoch: int) -> bool:
        """Whether an epoch's loss on held-out views is within 2% of the best epoch's."""
        return self.held_out[epoch - 1] <= min(self.held_out) * (1 + NEAR)


def study(recipe: str, kind: str, hue: int, base: BaseModel) -> Study:
    """Trains one subject and measures every epoch on the held-out views."""
    views = draw_subject(kind, TRAINED_VIEWS + HELD_OUT_VIEWS, seed=hue + 1, hue=hue)
    training, held_out = views[:TRAINED_VIEWS], views[TRAINED_VIEWS:]
    parameters = resolve(base.specs, {"trigger_word": TRIGGER_WORD, **RECIPES[recipe]})
    files = BaseModelFiles(base.id, base.family, base.source, base.architecture, None, base.neutral_prompts)
    epochs: list[EpochResult] = []
    with tempfile.TemporaryDirectory() as name:
        items = write_items(training, Path(name) / "pictures")
        run = Path(name) / "run"
        spec = TrainJobSpec(
            files, parameters, items, run, decode_original, device="cpu", processes=1, sample_base_previews=False
        )
        train(spec, Hooks(on_epoch=epochs.append))
        pipelines = [load_pipeline(base), *(load_pipeline(base, artifact_of(result)) for result in epochs)]
    captions = [caption for _, caption in held_out]
    latents = encoded(pipelines[0], [np.asarray(fitted(view, base)) for view, _ in held_out])
    losses = [loss_of(pipeline, latents, captions, REPETITIONS) for pipeline in pipelines]
    evaluations = [asdict(result.evaluation) for result in epochs]
    return Study(recipe, f"{kind} {hue}", losses[0], losses[1:], evaluations)


def show(one: Study) -> None:
    """A line about one subject."""
    losses = " ".join(f"{loss:.3f}" for loss in one.held_out)
    best = one.held_out.index(min(one.held_out)) + 1
    missed = "" if one.near_best(one.recommended) else " (missed)"
    typer.echo(
        f"{one.recipe:9} {one.subject:12} base {one.base:.3f}: {losses}; best {best},"
        f" recommended {one.recommended}{missed}"
    )


def report(studies: Sequence[Study]) -> None:
    """A line a subject, and the shares of each recipe."""
    for recipe in sorted({one.recipe for one in studies}):
        chosen = [one for one in studies if one.recipe == recipe]
        for one in chosen:
            show(one)
        ours = sum(one.near_best(one.recommended) for one in chosen)
        last = sum(one.near_best(len(one.held_out)) for one in chosen)
        typer.echo(f"{recipe}: within 2% of the best: recommended {ours}/{len(chosen)}, last {last}/{len(chosen)}")


def main(
    output: Annotated[Path, typer.Option(help="Folder for the numbers.")],
    kinds: Annotated[str, typer.Option(help="Kinds of subjects, separated by commas.")] = ",".join(KINDS),
    hues: Annotated[str, typer.Option(help="Colourings of each kind in degrees.")] = "0,120,240",
    recipes: Annotated[str, typer.Option(help="Recipes, separated by commas.")] = ",".join(RECIPES),
    replay: Annotated[bool, typer.Option("--replay", help="Train nothing; apply the rule to what is stored.")] = False,
) -> None:
    """Compare the recommended epoch with the best and with the last."""
    output.mkdir(parents=True, exist_ok=True)
    if replay:
        stored = sorted(output.glob("**/evaluation.json"))
        report([Study(**values) for file in stored for values in json.loads(file.read_text())])
        return
    path = output / "evaluation.json"
    base = load_catalogue()[BASE_MODEL]
    studies: list[Study] = []
    for hue in hues.split(","):
        for kind in kinds.split(","):
            for recipe in recipes.split(","):
                studies.append(study(recipe, kind, int(hue), base))
                show(studies[-1])
                path.write_text(json.dumps([asdict(one) for one in studies], indent=2) + "\n")
    report(studies)


if __name__ == "__main__":
    typer.run(main)
