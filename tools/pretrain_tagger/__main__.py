"""The command line: `python -m tools.pretrain_tagger COMMAND`. See README.md in this folder."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated

import typer

from services.tagger.adapters.drawn_onnx import DrawnOnnxTagger
from tools.pretrain_tagger import blind_renderer
from tools.pretrain_tagger import evaluate as evaluation
from tools.pretrain_tagger.cartoon_scenes import draw_cartoon
from tools.pretrain_tagger.data import write_blocks
from tools.pretrain_tagger.outside import draw_outside, draw_stranger
from tools.pretrain_tagger.scenes import draw_scene

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train the tagger of the drawn world.")

Folder = Annotated[Path, typer.Option("--folder", help="Where drawn blocks and weights are kept.")]
Target = Annotated[Path, typer.Option("--target", help="The tagger's folder: model.onnx and labels.json.")]

DEFAULT_FOLDER = Path(".pretrain/tagger")
DEFAULT_TARGET = Path("services/tagger/weights/fiveshot-tagger")


@app.command()
def draw(blocks: int = 60, first: int = 0, folder: Folder = DEFAULT_FOLDER) -> None:
    """Draw blocks of 500 pictures; those that are there stay, so several processes can share the work."""
    write_blocks(folder, range(first, first + blocks))


@app.command()
def train(
    minutes: float,
    folder: Folder = DEFAULT_FOLDER,
    rate: float = 2e-3,
    warm: Annotated[bool, typer.Option(help="Go on from the weights in the folder.")] = False,
    threads: int = 1,
) -> None:
    """Train on all blocks but the first four, which measure."""
    from tools.pretrain_tagger.train import Run, train  # Torch takes seconds to load; drawing does not need it.

    train(Run(folder, minutes, rate=rate, warm=warm, threads=threads))


@app.command()
def restore(folder: Folder = DEFAULT_FOLDER, target: Target = DEFAULT_TARGET) -> None:
    """Make the shipped tagger trainable again, for `train --warm`."""
    from tools.pretrain_tagger.restore import restore

    restore(folder, target)


@app.command()
def export(folder: Folder = DEFAULT_FOLDER, target: Target = DEFAULT_TARGET) -> None:
    """Write model.onnx and labels.json with thresholds set on the four blocks that were not learnt from."""
    from tools.pretrain_tagger.export import export

    export(folder, target)


@app.command()
def evaluate(
    target: Target = DEFAULT_TARGET,
    count: int = 2000,
    seed: int = 0,
    photos: Annotated[Path | None, typer.Option(help="A folder of photographs: every tag on one is false.")] = None,
    views: Annotated[int, typer.Option(help="Random views of each photograph, itself included.")] = 100,
) -> None:
    """Measure the exported tagger on scenes in another hand, on pictures from outside and on photographs."""
    tagger = DrawnOnnxTagger(target)
    report = evaluation.evaluate_drawn(tagger, evaluation.blind_scenes(count, seed=seed))
    typer.echo(f"{report.pictures} scenes, the gate refused {report.silent}\n")
    typer.echo(evaluation.as_markdown(report))
    outside = (draw_outside(random.Random(f"outside/{seed}/{number}"))[0] for number in range(count))
    typer.echo("\ndrawn from outside: {} pictures, {} let in, tags: {}".format(*evaluation.false_tags(tagger, outside)))
    if photos is not None:
        paths = sorted(path for path in photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        found = evaluation.false_tags(tagger, evaluation.views_of_photographs(paths, views))
        typer.echo("photographs: {} views, {} let in, tags: {}".format(*found))


@app.command()
def sheet(target: Path) -> None:
    """Draw a sheet to look at: scenes, cartoons, strangers, pictures from outside, and four rows in the test's hand."""
    from research.fiveshot_tiny.evaluation import contact_sheet

    rows = [draw_scene] * 4 + [draw_cartoon] * 2 + [draw_stranger] * 2 + [draw_outside] * 2
    drawn = [draw(random.Random(f"{row}/{column}"))[0] for row, draw in enumerate(rows) for column in range(12)]
    drawn += [blind_renderer.draw_scene(random.Random(f"blind/{number}"), 64)[0] for number in range(48)]
    contact_sheet(drawn, 12, scale=2).save(target)


if __name__ == "__main__":
    app()
