"""How far the likeness of copies and of other pictures lie apart: 1,000 pairs of each, and a histogram.

PHOTOS holds a folder of photos for each subject; the demo's drawn subjects come on top. Copies are moved by up to an
eighth, scaled by 0.8 to 1.25, mirrored half of the time and recoloured, then as small as a preview of the small base.
Other pictures are another photo of the same subject, or of another one.

    python -m benchmarks.copies PHOTOS --output build/copies.png
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageEnhance, ImageOps

from gateway.demo_pictures import KINDS, draw_subject
from services.trainer.engine.copies import COPY_LIKENESS, CopyDetector

PAIRS = 1000
SIDE, PREVIEW = 256, 64
SHARES = (0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 1.0)


def photographs(folder: Path) -> dict[str, list[Image.Image]]:
    """Square pictures of each subject."""
    return {
        each.name: [
            ImageOps.fit(ImageOps.exif_transpose(Image.open(path)).convert("RGB"), (SIDE, SIDE))
            for path in sorted(each.glob("*.jp*g"))
        ]
        for each in sorted(folder.iterdir())
        if each.is_dir()
    }


def drawn() -> dict[str, list[Image.Image]]:
    """Views of the demo's subjects in two colourings."""
    views = {f"{kind} {hue}": draw_subject(kind, 6, hue + 1, hue=hue) for kind in KINDS for hue in (0, 120)}
    return {name: [view.convert("RGB").resize((SIDE, SIDE)) for view, _ in found] for name, found in views.items()}


def changed(picture: Image.Image, draw: random.Random) -> Image.Image:
    """A copy that is moved, scaled, perhaps mirrored, and recoloured."""
    size = draw.uniform(0.8, 1.25)
    across, down = (draw.uniform(-0.12, 0.12) * SIDE for _ in range(2))
    centre, factor = SIDE / 2, 1.0 / size
    moved = (factor, 0, centre - factor * (centre + across), 0, factor, centre - factor * (centre + down))
    ground = picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    picture = picture.transform((SIDE, SIDE), Image.Transform.AFFINE, moved, Image.Resampling.BICUBIC, fillcolor=ground)
    if draw.random() < 0.5:
        picture = ImageOps.mirror(picture)
    hue, saturation, value = picture.convert("HSV").split()
    turn = draw.randrange(256)
    hue = hue.point([(step + turn) % 256 for step in range(256)])
    recoloured = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    return preview(ImageEnhance.Brightness(recoloured).enhance(draw.uniform(0.8, 1.2)))


def preview(picture: Image.Image) -> Image.Image:
    """As the small base would draw it."""
    return picture.resize((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)


def likenesses(groups: Mapping[str, Sequence[Image.Image]], draw: random.Random) -> dict[str, list[float]]:
    """Of ``PAIRS`` pairs of each kind."""
    every = [(name, number) for name, pictures in groups.items() for number in range(len(pictures))]
    detectors = {(name, number): CopyDetector([groups[name][number]]) for name, number in every}
    found: dict[str, list[float]] = {"copy": [], "same subject": [], "another subject": []}
    for _ in range(PAIRS):
        name, number = draw.choice(every)
        others = [one for one in range(len(groups[name])) if one != number]
        strangers = [one for one in every if one[0] != name]
        other = draw.choice(strangers)
        pairs = {
            "copy": changed(groups[name][number], draw),
            "same subject": preview(groups[name][draw.choice(others)]),
            "another subject": preview(groups[other[0]][other[1]]),
        }
        for kind, picture in pairs.items():
            found[kind].append(detectors[name, number].likeness([picture]))
    return found


def main(
    photos: Annotated[Path, typer.Argument(help="Folder with a folder of photos for each subject.")],
    output: Annotated[Path, typer.Option(help="PNG file for the histogram.")],
) -> None:
    """Print quantiles and the share beyond the bound, and draw both distributions."""
    figure = Figure(figsize=(8, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, groups) in enumerate({"photographs": photographs(photos), "drawn": drawn()}.items(), 1):
        found = likenesses(groups, random.Random(1))
        axes = figure.add_subplot(2, 1, place)
        for kind, values in found.items():
            quantiles = " ".join(f"{value:.2f}" for value in numpy.quantile(values, SHARES))
            beyond = sum(value >= COPY_LIKENESS for value in values) / len(values)
            typer.echo(f"{title:11} {kind:15} {quantiles}; from {COPY_LIKENESS} on: {beyond:.1%}")
            axes.hist(values, bins=50, range=(0, 1), alpha=0.6, label=kind)
        axes.axvline(COPY_LIKENESS, color="#333333", linewidth=1)
        axes.set_title(title)
        axes.set_ylabel("pairs")
        axes.legend(frameon=False)
    axes.set_xlabel("likeness")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, format="png")


if __name__ == "__main__":
    typer.run(main)
