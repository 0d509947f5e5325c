"""Trains the UNet and the text encoder together, from random weights or from an older base, resumably.

All randomness of a step is derived from (seed, step, rank), so that a resumed run draws what an uninterrupted one
would have drawn. The learning rate follows the time that the run was given: constant, then down to zero over the last
part, which makes every run end with usable weights however busy the machine was.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler

from research.fiveshot_tiny.config import Size
from research.fiveshot_tiny.distributed import Group, run_in_group
from research.fiveshot_tiny.evaluation import (
    GRID_PROMPTS,
    contact_sheet,
    sample_pictures,
    training_schedule,
    validation_loss,
)
from research.fiveshot_tiny.latents import DRAWN, PHOTOGRAPHIC, LatentSet, prepare_latents
from research.fiveshot_tiny.models import Denoiser, assemble_pipeline, build_denoiser, tokenize, warm_start_denoiser
from research.fiveshot_tiny.optimizer import MuonWithAdamW
from research.fiveshot_tiny.scenes.captions import disturb_caption
from research.fiveshot_tiny.state import Average, Progress, load_state, save_state
from research.fiveshot_tiny.vocabulary import filler_words

TRAINING_SEED, VALIDATION_SEED = 21, 22
REPORT_EVERY = 100  # steps
CLOCK_EVERY = 10  # steps between two agreements on the time


@dataclass(frozen=True)
class Run:
    """One run: where, for how long, and how it cools down. `warm_start` is used only where no state exists."""

    size: Size
    folder: Path
    minutes: float
    warm_start: Path | None = None
    cooldown: float = 0.3  # share of the run over which the learning rate falls to zero
    checkpoint_minutes: float = 10.0
    device: str = "cpu"
    processes: int = 2
    learning_rate: float | None = None


def train_denoiser(run: Run) -> None:
    """Trains in `run.folder`, which must hold a trained `vae/`. Raises FileNotFoundError where it does not."""
    if not (run.folder / "vae" / "config.json").is_file():
        raise FileNotFoundError(f"no autoencoder in {run.folder / 'vae'}: run the step 'vae' first")
    vae = AutoencoderKL.from_pretrained(run.folder / "vae").eval().to(run.device)
    _latent_sets(run, vae, processes=run.processes)
    run_in_group(_train, run, processes=1 if run.device != "cpu" else run.processes)


def _latent_sets(run: Run, vae: AutoencoderKL, *, processes: int = 1) -> dict[tuple[str, int], LatentSet]:
    """The scenes of each kind to train on and to validate with."""
    size = run.size
    counts = {
        (DRAWN, VALIDATION_SEED): size.validation_scenes,
        (DRAWN, TRAINING_SEED): size.scenes,
        (PHOTOGRAPHIC, VALIDATION_SEED): size.validation_scenes,
        (PHOTOGRAPHIC, TRAINING_SEED): size.photographic_scenes,
    }
    folder = run.folder / "latents"
    return {
        (kind, seed): prepare_latents(vae, size, folder, count, seed=seed, processes=processes, kind=kind)
        for (kind, seed), count in counts.items()
    }


def _train(group: Group, run: Run) -> None:
    size = run.size
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(run.folder / "vae").eval().to(run.device)
    sets = _latent_sets(run, vae)
    drawn, photographic = sets[DRAWN, TRAINING_SEED], sets[PHOTOGRAPHIC, TRAINING_SEED]
    validation = {kind: sets[kind, VALIDATION_SEED] for kind in (DRAWN, PHOTOGRAPHIC)}
    denoiser = build_denoiser(size)
    if run.warm_start:
        warm_start_denoiser(denoiser, run.warm_start)
    denoiser.unet.to(run.device)
    denoiser.text_encoder.to(run.device)
    parameters = denoiser.named_parameters()
    average = Average(parameters, size.ema_decay)
    optimizer = MuonWithAdamW(parameters, weight_decay=size.weight_decay, group=group)
    progress = load_state(run.folder, denoiser, average, optimizer) or Progress()

    batches = Batches(drawn, photographic, denoiser, size, group, run.device)
    seconds_before, started = progress.seconds, time.monotonic()
    next_checkpoint = run.checkpoint_minutes * 60
    run_seconds, losses, first_step = 0.0, 0.0, progress.steps
    peak = run.learning_rate or size.learning_rate
    denoiser.train(True)
    while run_seconds < run.minutes * 60:
        rate = peak * learning_rate_factor(
            progress.steps, run_seconds / (run.minutes * 60), size.warmup_steps, run.cooldown
        )
        loss = batches.loss(progress.steps)
        torch.autograd.backward(loss)
        trained = list(parameters.values())
        group.average_gradients(trained)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step(rate)
        for parameter in trained:
            parameter.grad = None
        average.update(progress.steps)
        progress.steps += 1
        progress.samples += size.batch_size
        losses += float(loss.detach())
        if progress.steps % CLOCK_EVERY == 0:
            run_seconds = group.agree(time.monotonic() - started)
            progress.seconds = seconds_before + run_seconds
        if progress.steps % REPORT_EVERY == 0 and group.leads:
            speed = (progress.steps - first_step) * size.batch_size / max(run_seconds, 1e-9)
            left = run.minutes - run_seconds / 60
            print(
                f"step {progress.steps} samples {progress.samples} loss {losses / REPORT_EVERY:.4f} "
                f"rate {rate:.2e} {speed:.0f} img/s, {left:.0f} min left",
                flush=True,
            )
        if progress.steps % REPORT_EVERY == 0:
            losses = 0.0
        if run_seconds >= min(next_checkpoint, run.minutes * 60):
            next_checkpoint += run.checkpoint_minutes * 60
            if group.leads:
                _checkpoint(run, vae, denoiser, average, optimizer, progress, validation)
            group.wait()


def learning_rate_factor(step: int, share: float, warmup: int, cooldown: float) -> float:
    """The learning rate as a part of its peak: it rises over the first steps of all, and falls at the end of a run."""
    rise = min(1.0, (step + 1) / warmup)
    fall = min(1.0, max(0.0, (1 - share) / cooldown)) if cooldown > 0 else 1.0
    return rise * fall


class Batches:
    """Draws the batch of any step and computes its loss."""

    def __init__(
        self, drawn: LatentSet, photographic: LatentSet, denoiser: Denoiser, size: Size, group: Group, device: str
    ) -> None:
        self._denoiser, self._size, self._group = denoiser, size, group
        self._device = torch.device(device)
        self._drawn, self._photographic = len(drawn), len(photographic)
        self._captions = [*drawn.captions, *photographic.captions]
        self._latents = torch.cat([drawn.latents, photographic.latents]).to(self._device)
        self._filler = filler_words()
        self._scheduler = DDPMScheduler(**training_schedule())
        self._count = size.batch_size // group.processes

    def loss(self, step: int) -> torch.Tensor:
        """Mean squared velocity error of this process's part of the batch of `step`."""
        count = self._count
        rng = random.Random(f"step/{step}/{self._group.rank}")
        generator = torch.Generator().manual_seed(rng.getrandbits(60))
        chosen = torch.where(
            torch.rand(count, generator=generator) < self._size.photographic_share,
            self._drawn + torch.randint(0, self._photographic, (count,), generator=generator),
            torch.randint(0, self._drawn, (count,), generator=generator),
        )
        latents = self._latents[chosen.to(self._device)].float()
        captions = [
            disturb_caption(
                rng,
                self._captions[i],
                self._filler,
                empty_share=self._size.empty_caption_share,
                filler_share=self._size.filler_caption_share,
            )
            for i in chosen.tolist()
        ]
        # Evenly spread timesteps, moved by one random offset: less noise in the gradient than independent draws.
        spread = (torch.arange(count) + torch.rand((), generator=generator)) / count
        timesteps = (spread * 1000).long().clamp(0, 999)[torch.randperm(count, generator=generator)].to(self._device)
        noise = torch.randn(latents.shape, generator=generator).to(self._device)
        noisy = self._scheduler.add_noise(latents, noise, timesteps)
        target = self._scheduler.get_velocity(latents, noise, timesteps)
        ids = tokenize(self._denoiser.tokenizer, captions).to(self._device)
        with torch.autocast("cuda", torch.bfloat16, enabled=self._device.type == "cuda"):
            predicted = self._denoiser.predict(noisy, timesteps, ids)
        return torch.nn.functional.mse_loss(predicted.float(), target)


def _checkpoint(
    run: Run,
    vae: AutoencoderKL,
    denoiser: Denoiser,
    average: Average,
    optimizer: MuonWithAdamW,
    progress: Progress,
    validation: dict[str, LatentSet],
) -> None:
    """Validates and samples with the averaged weights, then stores the state."""
    average.swap()
    denoiser.train(False)
    losses = {kind: validation_loss(denoiser, scenes) for kind, scenes in validation.items()}
    progress.validation_loss = losses[DRAWN]
    images = sample_pictures(assemble_pipeline(vae, denoiser), GRID_PROMPTS)
    grids = run.folder / "grids"
    grids.mkdir(exist_ok=True)
    contact_sheet(images, 8, scale=2).save(grids / f"samples-{progress.samples:08d}.png")
    average.swap()
    denoiser.train(True)
    save_state(run.folder, denoiser, average, optimizer, progress)
    told = ", ".join(f"{kind} {loss:.4f}" for kind, loss in losses.items())
    print(f"checkpoint at {progress.samples} samples: validation loss {told}", flush=True)
