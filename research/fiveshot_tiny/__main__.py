"""The command line of pretraining: `python -m research.fiveshot_tiny COMMAND`. See README.md in this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import StableDiffusionPipeline
from rich.console import Console
from rich.table import Table

from research.fiveshot_tiny.config import CPU64, SIZES
from research.fiveshot_tiny.evaluation import READING_PROMPTS, READING_SEED, contact_sheet, sample_pictures
from research.fiveshot_tiny.export import export_base, golden_sheet
from research.fiveshot_tiny.models import build_denoiser, build_vae, warm_start_vae
from research.fiveshot_tiny.scenes.compose import draw_scene_block
from research.fiveshot_tiny.state import read_progress
from research.fiveshot_tiny.train_denoiser import Run, train_denoiser
from research.fiveshot_tiny.train_vae import VaeRun, train_vae

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Pretrain fiveshot-tiny.")

SizeName = Annotated[str, typer.Option("--size", help=f"One of: {', '.join(SIZES)}.")]
Folder = Annotated[Path, typer.Option("--folder", help="Where the run keeps its state.")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
Processes = Annotated[int, typer.Option("--processes", help="Single-thread processes on the CPU; a GPU uses one.")]

DEFAULT_FOLDER = Path(".pretrain/base")
DEFAULT_TARGET = Path("services/trainer/recipe/base_models/fiveshot-tiny")


@app.command()
def scenes(target: Path, count: int = 60, size: SizeName = CPU64.name) -> None:
    """Draw a sheet of scenes to look at, and print their captions."""
    drawn = draw_scene_block(count, seed=3, size=SIZES[size].resolution)
    contact_sheet([scene.image for scene in drawn], 10, scale=2).save(target)
    for scene in drawn:
        typer.echo(scene.caption)


@app.command()
def vae(
    minutes: float,
    size: SizeName = CPU64.name,
    folder: Folder = DEFAULT_FOLDER,
    device: Device = "cpu",
    processes: Processes = 2,
    warm_start: Annotated[Path | None, typer.Option(help="A base whose autoencoder is taken over first.")] = None,
) -> None:
    """Train the autoencoder; where one is there already, only its decoder."""
    if warm_start and not (folder / "vae").exists():
        autoencoder = build_vae(SIZES[size])
        warm_start_vae(autoencoder, warm_start)
        autoencoder.save_pretrained(folder / "vae")
    quality = train_vae(VaeRun(SIZES[size], folder, minutes, device=device, processes=processes, threads=processes))
    typer.echo(f"scenes {quality['scene_psnr']:.2f} dB, textures {quality['texture_psnr']:.2f} dB")


@app.command()
def denoiser(
    minutes: float,
    size: SizeName = CPU64.name,
    folder: Folder = DEFAULT_FOLDER,
    device: Device = "cpu",
    processes: Processes = 2,
    warm_start: Annotated[Path | None, typer.Option(help="A base of the same shape to start from.")] = None,
    cooldown: Annotated[float, typer.Option(min=0, max=1, help="Share of the run that ends at rate zero.")] = 0.3,
    checkpoint_minutes: Annotated[float, typer.Option(min=0.1)] = 10,
) -> None:
    """Train the UNet and the text encoder; continues what the folder holds."""
    train_denoiser(
        Run(
            SIZES[size],
            folder,
            minutes,
            warm_start,
            cooldown=cooldown,
            checkpoint_minutes=checkpoint_minutes,
            device=device,
            processes=processes,
        )
    )


@app.command()
def export(
    size: SizeName = CPU64.name,
    folder: Folder = DEFAULT_FOLDER,
    target: Annotated[Path, typer.Option(help="The folder that ships; it is replaced.")] = DEFAULT_TARGET,
) -> None:
    """Write the pipeline, its card, its samples and its regularisation pictures."""
    export_base(folder, SIZES[size], target)
    typer.echo(f"wrote {target}")


@app.command()
def golden(target: Path, base: Annotated[Path, typer.Option(help="An exported base.")] = DEFAULT_TARGET) -> None:
    """Sample the pictures that a test compares the shipped weights with."""
    golden_sheet(base).save(target, optimize=True)


@app.command()
def reading(target: Path, base: Annotated[Path, typer.Option(help="An exported base.")] = DEFAULT_TARGET) -> None:
    """Sample the sheet that a reader names the objects of, without seeing the prompts."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, dtype=torch.float32, safety_checker=None)
    sheet = contact_sheet(sample_pictures(pipeline, READING_PROMPTS, seed=READING_SEED), 8, scale=2)
    sheet.save(target, quality=90)


@app.command()
def show(size: SizeName = CPU64.name, folder: Folder = DEFAULT_FOLDER) -> None:
    """Print the size of the model and how far its training has come."""
    chosen = SIZES[size]
    parts = build_denoiser(chosen)
    table = Table("what", "value")
    for name, network in (("UNet", parts.unet), ("text encoder", parts.text_encoder), ("VAE", build_vae(chosen))):
        table.add_row(f"{name} parameters", f"{sum(p.numel() for p in network.parameters()):,}")
    state = folder / "state.safetensors"
    if state.is_file():
        progress = read_progress(state)
        table.add_row("samples seen", f"{progress.samples:,}")
        table.add_row("validation loss", f"{progress.validation_loss:.4f}")
    Console().print(table)


if __name__ == "__main__":
    app()
